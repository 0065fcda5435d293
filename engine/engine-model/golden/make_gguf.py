"""Writes the small GGUF files in golden/gguf with the `gguf` package, and records what transformers says of them.

Needs gguf, torch and transformers; run from the repository's root, after the checkpoints of make.py were made:
    python engine/engine-model/golden/make_gguf.py /some/dir
transformers widens the files' numbers to f32 by itself, and builds its own tokenizer from their vocabulary.
"""

import json
import math
import pathlib
import re
import shutil
import sys
import tempfile

import gguf
import numpy
from safetensors.numpy import load_file, save_file

OUT = pathlib.Path(__file__).parent / "gguf"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# name, checkpoint, GGUF's architecture, type of matrices, tokenizer, rope pairs are neighbours
FILES = [
    ("llama-q8_0", "tiny-f32", "llama", "Q8_0", "gpt-2", True),
    ("llama-spm-q4_0", "tiny-f32", "llama", "Q4_0", "spm", True),
    ("qwen2-q5_0", "tiny-qwen2-window", "qwen2", "Q5_0", "qwen2", False),
    ("llama-tied-q4_1", "tiny-tied", "llama", "Q4_1", "gpt-2", True),
]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    part, suffix = name.rsplit(".", 1)
    layer = re.match(r"model\.layers\.(\d+)\.(.*)", part)
    if layer:
        return f"blk.{layer[1]}.{NAMES[layer[2]]}.{suffix}"
    return f"{NAMES[part]}.{suffix}"


def interleaved(rows, heads):
    """As llama.cpp's converter does it."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def byte_level(writer, tokenizer, pre):
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda entry: entry[1])]
    special = {entry["content"] for entry in added}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    writer.add_add_bos_token(False)


def sentencepiece(writer, size):
    """Bytes, then letters, then words put together from them: the better the earlier."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    words = "▁the ▁head works ▁of ▁a ▁can al ▁canal ▁is ▁sky ▁blue ▁Why ▁fn ▁main ▁queue ▁short ▁how ▁long ▁they ▁will ▁wait ▁ho".split()
    letters = sorted(set("".join(words)) | set("abcdefghijklmnopqrstuvwxyz.,?!:()ATWI▁"))
    pieces = letters[:]
    for word in words:
        pieces += [word[:end] for end in range(2, len(word) + 1)]
    pieces = list(dict.fromkeys(pieces))[: size - len(tokens)]
    filler = [f"x{index}x" for index in range(size - len(tokens) - len(pieces))]
    scores = [0.0] * len(tokens) + [-float(rank) for rank in range(size - len(tokens))]
    tokens += pieces + filler
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds + [1] * (size - len(kinds)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)


def common(writer, config):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write(root, name, checkpoint, architecture, kind, pre, neighbours):
    source = pathlib.Path(root) / checkpoint
    config = json.loads((source / "config.json").read_text())
    writer = gguf.GGUFWriter(OUT / f"{name}.gguf", architecture)
    common(writer, config)
    writer.add_rope_freq_base(config["rope_theta"])
    if pre == "spm":
        sentencepiece(writer, config["vocab_size"])
    else:
        byte_level(writer, json.loads((source / "tokenizer.json").read_text()), pre)
        writer.add_eos_token_id(config["eos_token_id"])
    writer.add_chat_template(CHAT_TEMPLATE)
    stored = gguf.GGMLQuantizationType[kind]
    for tensor, numbers in load_file(source / "model.safetensors").items():
        if neighbours and ("q_proj" in tensor or "k_proj" in tensor):
            heads = config["num_attention_heads" if "q_proj" in tensor else "num_key_value_heads"]
            numbers = interleaved(numbers, heads)
        numbers = numpy.ascontiguousarray(numbers, numpy.float32)
        if numbers.ndim == 1:
            writer.add_tensor(gguf_name(tensor), numbers)
        else:
            writer.add_tensor(gguf_name(tensor), gguf.quants.quantize(numbers, stored), raw_dtype=stored)
    close(writer)


def record(name):
    import torch
    import transformers

    torch.set_num_threads(1)
    load = {"gguf_file": f"{name}.gguf", "dtype": torch.float32, "attn_implementation": "eager"}
    model = transformers.AutoModelForCausalLM.from_pretrained(OUT, **load).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(OUT, gguf_file=f"{name}.gguf")
    save(name, model, tokenizer)


def save(name, model, tokenizer):
    import torch
    import transformers

    import make

    golden = {
        "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "prompts": [make.record(model, tokenizer, text) for text in make.PROMPTS[:3]],
    }
    (OUT / f"{name}.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


# Of these, transformers does not read all that GGUF says: it is given a directory with the same rounded numbers.
# name, checkpoint, GGUF's architecture, what a GGUF file cannot say otherwise
DESCRIBED = [
    ("qwen3-q4_0", "tiny-qwen3", "QWEN3", {}),
    ("qwen3moe-q4_0", "tiny-qwen3-moe", "QWEN3MOE", {"mlp_only_layers": []}),
    ("gemma2-q4_0", "tiny-gemma2", "GEMMA2", {"query_pre_attn_scalar": 16}),
    ("gemma3-q4_0", "tiny-gemma3", "GEMMA3", {"query_pre_attn_scalar": 16}),
    ("phi3-q4_0", "tiny-phi3", "PHI3", {}),
]


def describe(writer, config):
    optional = {
        "sliding_window": writer.add_sliding_window,
        "attn_logit_softcapping": writer.add_attn_logit_softcapping,
        "final_logit_softcapping": writer.add_final_logit_softcapping,
        "num_experts": writer.add_expert_count,
        "num_experts_per_tok": writer.add_expert_used_count,
        "moe_intermediate_size": writer.add_expert_feed_forward_length,
    }
    for field, add in optional.items():
        if config.get(field) is not None:
            add(config[field])
    ropes = config.get("rope_parameters")
    writer.add_rope_freq_base(ropes["full_attention"]["rope_theta"] if ropes else config["rope_theta"])
    if ropes:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(ropes["full_attention"]["factor"])
        writer.add_sliding_window_pattern(len(config["layer_types"]))
    scaling = config.get("rope_scaling") or {}
    if scaling.get("type") == "longrope":
        original = config["original_max_position_embeddings"]
        grown = config["max_position_embeddings"] / original
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(grown) / math.log(original)))
        for kind in ("long", "short"):
            writer.add_tensor(f"rope_factors_{kind}.weight", numpy.array(scaling[f"{kind}_factor"], numpy.float32))


def described(root, name, checkpoint, architecture, changes):
    import torch
    import transformers

    source = pathlib.Path(root) / checkpoint
    config = json.loads((source / "config.json").read_text()) | changes
    arch = gguf.MODEL_ARCH[architecture]
    known = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])

    def named(tensor):
        # Gemma's converter knows no head apart from the embedding.
        return known.get_name(tensor, (".weight", ".bias")) or {"lm_head.weight": "output.weight"}[tensor]

    tensors = load_file(source / "model.safetensors")
    if "num_experts" in config:
        # GGUF cannot say that a layer of such a model is dense: it takes the experts of the one before.
        tensors = {key: value for key, value in tensors.items() if ".1.mlp." not in key}
        tensors |= {key.replace(".0.mlp.", ".1.mlp."): value for key, value in tensors.items() if ".0.mlp." in key}
    writer = gguf.GGUFWriter(OUT / f"{name}.gguf", gguf.MODEL_ARCH_NAMES[arch])
    common(writer, config)
    describe(writer, config)
    byte_level(writer, json.loads((source / "tokenizer.json").read_text()), "gpt-2")
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_chat_template(CHAT_TEMPLATE)
    rounded, experts = {}, {}
    for tensor, numbers in sorted(tensors.items()):
        if numbers.ndim == 1:
            rounded[tensor] = numbers
            # Gemma's converter adds what the model adds.
            stored = numbers + 1 if architecture.startswith("GEMMA") else numbers
            writer.add_tensor(named(tensor), stored.astype(numpy.float32))
            continue
        # Rows of the experts' second matrix are no whole blocks.
        kind = gguf.GGMLQuantizationType.Q4_0 if numbers.shape[1] % 32 == 0 else gguf.GGMLQuantizationType.F16
        packed = gguf.quants.quantize(numpy.ascontiguousarray(numbers, numpy.float32), kind)
        rounded[tensor] = gguf.quants.dequantize(packed, kind)
        expert = re.match(r"(.*\.mlp\.experts)\.(\d+)\.(.*)", tensor)
        if expert:
            experts.setdefault((f"{expert[1]}.{expert[3]}", kind), {})[int(expert[2])] = packed
        else:
            writer.add_tensor(named(tensor), packed, raw_dtype=kind)
    for (tensor, kind), packed in experts.items():
        joined = numpy.stack([packed[index] for index in range(len(packed))])
        writer.add_tensor(named(tensor), joined, raw_dtype=kind)
    close(writer)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        save_file(rounded, pathlib.Path(folder) / "model.safetensors", metadata={"format": "pt"})
        load = {"dtype": torch.float32, "attn_implementation": "eager"}
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, **load).eval()
        save(name, model, transformers.PreTrainedTokenizerFast.from_pretrained(folder))


def main(root):
    for file in FILES:
        write(root, *file)
        record(file[0])
    for file in DESCRIBED:
        described(root, *file)


if __name__ == "__main__":
    main(sys.argv[1])
