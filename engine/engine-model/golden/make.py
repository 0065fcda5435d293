"""Records what Hugging Face transformers (f32, CPU) says of the golden checkpoints, as small JSON files.

Needs torch and transformers; run from the repository's root:
    for each CASE of tests/golden/cases.rs:
        cargo run -p engine-model --example synth -- CASE /some/dir/CASE
    python engine/engine-model/golden/make.py /some/dir
A file holds, for several prompts: the text and its token ids, the greedy continuation, and logits of chosen
positions at chosen vocabulary entries.
"""

import json
import pathlib
import sys

import torch
import transformers

GREEDY_TOKENS = 40
PROMPTS = [
    "The headworks of a canal",
    "Why is the sky blue? 🌊 水門の番人は",
    "fn main() { let mut total: u64 = 0; }",
    # Many KV blocks, and positions beyond the first training's context of the scaled case.
    "A good queue is short and honest. It tells those who arrive how long they will wait. " * 9,
]


def record(model, tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    with torch.no_grad():
        sequence = list(ids)
        for _ in range(GREEDY_TOKENS):
            sequence.append(int(model(torch.tensor([sequence])).logits[0, -1].argmax()))
        logits = model(torch.tensor([sequence])).logits[0]
    # The prompt's first, middle and last token, and the last that was generated.
    positions = sorted({0, len(ids) // 2, len(ids) - 1, len(sequence) - 1})
    entries = list(range(0, logits.shape[1], 37))
    return {
        "text": text,
        "prompt": ids,
        "greedy": sequence[len(ids):],
        "entries": entries,
        "logits": [
            {"position": at, "values": [round(float(logits[at, entry]), 6) for entry in entries]}
            for at in positions
        ],
    }


def main(root):
    torch.set_num_threads(1)
    for checkpoint in sorted(path for path in pathlib.Path(root).iterdir() if path.is_dir()):
        load = {"dtype": torch.float32, "attn_implementation": "eager"}
        model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, **load).eval()
        # Not AutoTokenizer: for some model types it replaces what tokenizer.json says by what it thinks they have.
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(checkpoint)
        chat = [{"role": "user", "content": "Hello"}]
        golden = {
            "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "chat": tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True),
            "prompts": [record(model, tokenizer, text) for text in PROMPTS],
        }
        out = pathlib.Path(__file__).parent / f"{checkpoint.name}.json"
        out.write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
        print(out.name, [entry["greedy"][:12] for entry in golden["prompts"]])


if __name__ == "__main__":
    main(sys.argv[1])
