#!/usr/bin/env python3
"""Records what `transformers` computes for models/tiny-r1 in float32.

Writes tests/golden/tiny_r1_logits.json. For each of six prompts: the token ids, the logits of the
whole vocabulary at some positions (the last one always), the greedy continuation and, for each of
its tokens, how far the best logit is above the second. Needs torch and transformers.
"""

import hashlib
import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "tiny-r1"
TARGET = ROOT / "tests" / "golden" / "tiny_r1_logits.json"
CONTINUATION = 64
DIGITS = 8


def user(text):
    """A user's message."""
    return {"role": "user", "content": text}


def assistant(text):
    """An earlier answer."""
    return {"role": "assistant", "content": text}


def long_conversation():
    """Turns enough for about 600 tokens."""
    turns = [{"role": "system", "content": "You are a careful mathematician. Answer briefly."}]
    for a in range(12, 32):
        b = a * a
        turns += [user(f"What is {a} + {b}?"), assistant(f"{a} + {b} = **{a + b}**")]
    return turns + [user("Tom has 45 apples and gets 38 more. How many apples does Tom have now?")]


CONVERSATIONS = {
    "english": [user("Who are you?")],
    "chinese": [user("小明有45个苹果，给了小红18个，还剩多少个？")],
    "arithmetic": [user("What is 3478 + 5869?")],
    "multi-turn": [user("What is 12 + 30?"), assistant("12 + 30 = **42**"), user("Now subtract 17 from that.")],
    "long": long_conversation(),
}


def prompts(tokenizer):
    """Named prompts as token ids."""
    made = {name: tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            for name, messages in CONVERSATIONS.items()}
    return made | {"single-token": [tokenizer.bos_token_id]}


def chosen_positions(length):
    """A few positions from the first to the last."""
    return sorted({0, 1, length // 4, length // 2, 3 * length // 4, length - 2, length - 1}
                  & set(range(length)))


def rounded(values):
    """Numbers with eight significant digits."""
    return [float(f"{value:.{DIGITS}g}") for value in values]


@torch.inference_mode()
def continuation(model, ids):
    """Greedy tokens, the end token included if it comes, and their margins."""
    ids, tokens, margins = list(ids), [], []
    while len(tokens) < CONTINUATION and model.config.eos_token_id not in tokens:
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        tokens.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        ids.append(tokens[-1])
    return tokens, margins


@torch.inference_mode()
def record(model, name, ids):
    """Everything about one prompt."""
    logits = model(torch.tensor([ids])).logits[0]
    tokens, margins = continuation(model, ids)
    return {
        "name": name,
        "ids": ids,
        "logits": [{"position": p, "values": rounded(logits[p].tolist())}
                   for p in chosen_positions(len(ids))],
        "greedy": tokens,
        "greedy_margins": [float(f"{margin:.4g}") for margin in margins],
    }


def main():
    """Loads the model, records and writes."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(
        MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    digest = hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()
    records = [record(model, name, ids) for name, ids in prompts(tokenizer).items()]
    content = {"model": "models/tiny-r1", "weights_sha256": digest, "compute": "float32",
               "prompts": records}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    for item in records:
        print(f"{item['name']}: {len(item['ids'])} tokens, smallest margin {min(item['greedy_margins'])}")
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
