# Writes a seeded random model of the Qwen2.5-0.5B shape, the same numbers in every format: a folder in Hugging Face
# layout in bf16, and GGUF files. Needs numpy and gguf. Arguments: FOLDER
import json
import os
import struct
import sys

import numpy as np
import gguf
from gguf import quants

LAYERS, HIDDEN, INNER, QUERY, KV, DIM, VOCAB = 24, 896, 4864, 14, 2, 64, 151936
CONTEXT = 32768
KINDS = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
LLAMA_KIND = {"bf16": gguf.LlamaFileType.MOSTLY_BF16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0}
NAMES = {
    "embed_tokens": "token_embd", "norm": "output_norm", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def tensors():
    """(name, numbers), always the same: matrices already rounded to bf16."""
    rng = np.random.default_rng(0)

    def matrix(rows, columns):
        numbers = rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns) ** 0.5
        return (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)

    yield "model.embed_tokens.weight", matrix(VOCAB, HIDDEN)
    yield "model.norm.weight", np.ones(HIDDEN, np.float32)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", np.ones(HIDDEN, np.float32)
        yield at + "post_attention_layernorm.weight", np.ones(HIDDEN, np.float32)
        for part, heads in (("q", QUERY), ("k", KV), ("v", KV)):
            yield at + f"self_attn.{part}_proj.weight", matrix(heads * DIM, HIDDEN)
            bias = rng.standard_normal(heads * DIM, dtype=np.float32)
            yield at + f"self_attn.{part}_proj.bias", (bias.view(np.uint32) & 0xFFFF0000).view(np.float32)
        yield at + "self_attn.o_proj.weight", matrix(HIDDEN, QUERY * DIM)
        yield at + "mlp.gate_proj.weight", matrix(INNER, HIDDEN)
        yield at + "mlp.up_proj.weight", matrix(INNER, HIDDEN)
        yield at + "mlp.down_proj.weight", matrix(HIDDEN, INNER)


def gguf_name(name):
    name = name.removeprefix("model.")
    prefix = ""
    if name.startswith("layers."):
        _, layer, name = name.split(".", 2)
        prefix = f"blk.{layer}."
    stem, end = name.rsplit(".", 1)
    return f"{prefix}{NAMES[stem]}.{end}"


def start(path, kind):
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(QUERY)
    writer.add_head_count_kv(KV)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_dimension_count(DIM)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(LLAMA_KIND[kind])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    # Every byte by its own name, as byte-level tokenizers write them, then words that stand for themselves.
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    names = {byte: chr(byte) for byte in shown}
    hidden = (byte for byte in range(256) if byte not in names)
    names.update({byte: chr(256 + at) for at, byte in enumerate(hidden)})
    writer.add_token_list([names[byte] for byte in range(256)] + [f"word{at}" for at in range(256, VOCAB)])
    writer.add_token_types([1] * VOCAB)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(VOCAB - 1)
    writer.add_bos_token_id(VOCAB - 2)
    writer.add_add_bos_token(False)
    return writer


def bf16(numbers):
    return (np.ascontiguousarray(numbers).view(np.uint32) >> 16).astype(np.uint16)


def main(folder):
    os.makedirs(f"{folder}/bf16", exist_ok=True)
    everything = list(tensors())
    for kind, stored in KINDS.items():
        path = f"{folder}/{kind}.gguf"
        writer = start(path + ".part", kind)
        for name, numbers in everything:
            if numbers.ndim == 1:
                writer.add_tensor(gguf_name(name), numbers)
            else:
                writer.add_tensor(gguf_name(name), quants.quantize(numbers, stored), raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(path + ".part", path)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, numbers in everything:
        size = numbers.size * 2
        header[name] = {"dtype": "BF16", "shape": list(numbers.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{folder}/bf16/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, numbers in everything:
            file.write(bf16(numbers).tobytes())
    config = dict(
        architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_size=HIDDEN, intermediate_size=INNER,
        num_hidden_layers=LAYERS, num_attention_heads=QUERY, num_key_value_heads=KV, head_dim=DIM, vocab_size=VOCAB,
        max_position_embeddings=CONTEXT, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True,
        hidden_act="silu", torch_dtype="bfloat16", eos_token_id=VOCAB - 1, use_sliding_window=False,
    )
    with open(f"{folder}/bf16/config.json", "w") as file:
        json.dump(config, file, indent=1)


main(sys.argv[1])
