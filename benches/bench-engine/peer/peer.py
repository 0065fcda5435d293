# llama.cpp as a process that answers "CASE STEPS" lines with "WALL CPU" seconds of one step.
# Arguments: MODEL.gguf THREADS SEQUENCES CELLS amx|no-amx. Beyond the binding's own, only the standard library.
import ctypes
import os
import struct
import sys
import time


def refuse_amx():
    """Has the kernel refuse this process the tiles, so that llama.cpp takes its other kernels."""
    load, equal, give = 0x20, 0x15, 0x06
    program = [
        (load, 0, 0, 0),  # the call's number
        (equal, 0, 3, 158),  # arch_prctl
        (load, 0, 0, 16),  # its first argument
        (equal, 0, 1, 0x1023),  # ARCH_REQ_XCOMP_PERM
        (give, 0, 0, 0x00050016),  # EINVAL
        (give, 0, 0, 0x7FFF0000),  # allowed
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filter = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter, 0, 0):
        sys.exit("peer: the kernel takes no filter")


if sys.argv[5] == "no-amx":
    refuse_amx()

import llama_cpp as lc

model_path, threads, sequences, cells = sys.argv[1], *map(int, sys.argv[2:5])
UBATCH = 512

answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # What the library prints must not look like an answer.

lc.llama_backend_init()
model_params = lc.llama_model_default_params()
model_params.use_mmap = True
model = lc.llama_model_load_from_file(model_path.encode(), model_params)
if not model:
    sys.exit(f"peer: {model_path} cannot be loaded")
params = lc.llama_context_default_params()
params.n_ctx = cells
params.n_batch = max(UBATCH, sequences)
params.n_ubatch = max(UBATCH, sequences)
params.n_threads = threads
params.n_threads_batch = threads
params.n_seq_max = sequences
if hasattr(params, "kv_unified"):
    params.kv_unified = True
context = lc.llama_init_from_model(model, params)
if not context:
    sys.exit("peer: no context; is there memory?")
memory = lc.llama_get_memory(context)
batch = lc.llama_batch_init(max(UBATCH, sequences), 0, 1)


def decode(entries):
    """Entries are (token, position, sequence, whether logits are wanted)."""
    batch.n_tokens = len(entries)
    for at, (token, position, sequence, logits) in enumerate(entries):
        batch.token[at] = token
        batch.pos[at] = position
        batch.n_seq_id[at] = 1
        batch.seq_id[at][0] = sequence
        batch.logits[at] = logits
    wall, cpu = time.perf_counter(), time.process_time()
    if lc.llama_decode(context, batch) != 0:
        sys.exit("peer: llama_decode failed")
    lc.llama_synchronize(context)
    return time.perf_counter() - wall, time.process_time() - cpu


filled = None


def fill(batch_size, length):
    """Gives each sequence a context, unless it has it from the sample before."""
    global filled
    if filled == (batch_size, length):
        return
    lc.llama_memory_clear(memory, True)
    for sequence in range(batch_size):
        for start in range(0, length, UBATCH):
            count = min(UBATCH, length - start)
            decode([(at * 37 % 1000, start + at, sequence, start + at == length - 1) for at in range(count)])
    filled = (batch_size, length)


def prefill(tokens):
    global filled
    filled = None
    lc.llama_memory_clear(memory, True)
    total_wall = total_cpu = 0.0
    for start in range(0, tokens, UBATCH):
        count = min(UBATCH, tokens - start)
        wall, cpu = decode([(at * 37 % 1000, start + at, 0, start + at == tokens - 1) for at in range(count)])
        total_wall, total_cpu = total_wall + wall, total_cpu + cpu
    return total_wall, total_cpu


def steps(batch_size, length, count):
    fill(batch_size, length)
    walls, cpus = [], []
    for step in range(count):
        wall, cpu = decode([(sequence + 5, length + step, sequence, True) for sequence in range(batch_size)])
        walls.append(wall)
        cpus.append(cpu)
    for sequence in range(batch_size):
        lc.llama_memory_seq_rm(memory, sequence, length, -1)
    return min(walls), sum(cpus) / len(cpus)


print(f"llama.cpp by llama-cpp-python {lc.__version__}, {threads} threads, {sys.argv[5]}", file=answers)
for line in sys.stdin:
    case, count = line.split()
    kind, *numbers = case.split(":")
    numbers = list(map(int, numbers))
    wall, cpu = prefill(*numbers) if kind == "prefill" else steps(*numbers, int(count))
    print(f"{wall:.9f} {cpu:.9f}", file=answers)
