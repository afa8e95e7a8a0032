"""Checks that Python `transformers` sees this folder as it is meant.

The tokenizer gives the ids of tokenizer.json, the chat template renders what R1's renders, and
`generate` in float32 writes the same greedy tokens as the recipe's own sampler. With
`--reference-template FILE` the template is also compared with R1's own over random conversations.
"""

import argparse
import json
import os
import random

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

import chat
import evaluate
import export
from model import TinyQwen2
from settings import BOS, EOS, MODEL_FOLDER, Architecture, Training

B, E, U, A = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"


def said(role, content):
    """One message."""
    return {"role": role, "content": content}


CONVERSATIONS = [  # (messages, generation prompt wanted, rendering)
    ([said("user", "Hi")], True, f"{B}{U}Hi{A}<think>\n"),
    ([said("user", "Hi")], False, f"{B}{U}Hi"),
    ([said("system", "S"), said("user", "你好\n")], True, f"{B}S{U}你好\n{A}<think>\n"),
    ([said("system", "S"), said("user", "Q"), said("system", "T")], True, f"{B}T{U}Q{A}<think>\n"),
    ([said("user", "Q"), said("assistant", "<think>\nx\n</think>\n\nY"), said("user", "Z")], True,
     f"{B}{U}Q{A}\n\nY{E}{U}Z{A}<think>\n"),
    ([said("user", "Q"), said("assistant", "a</think>b</think>c")], False, f"{B}{U}Q{A}c{E}"),
    ([said("user", "Q"), said("assistant", " plain ")], True, f"{B}{U}Q{A} plain {E}{A}<think>\n"),
    ([said("user", "Q"), said("tool", "1"), said("tool", "2"), said("assistant", "d")], False,
     f"{B}{U}Q<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>1<｜tool▁output▁end｜>\n"
     f"<｜tool▁output▁begin｜>2<｜tool▁output▁end｜><｜tool▁outputs▁end｜>d{E}"),
]
TEXTS = ["What is 3478 + 5869?", "你是谁？", "  spaces\n\n and\tTabs", "I'LL don't", "é e\u0301 😀",
         f"{U}3+4{A}<think>\n7\n</think>\n\n**7**{E}", ""]


def check(name, good):
    """Prints one result and ends the program on a bad one."""
    print(("ok      " if good else "FAILED  ") + name, flush=True)
    if not good:
        raise SystemExit(1)


def check_tokenizer(tokenizer, plain):
    """The same ids as the plain `tokenizers` library, with and without the first token."""
    for special in (False, True):
        same = all(tokenizer(text, add_special_tokens=special).input_ids
                   == plain.encode(text, add_special_tokens=special).ids for text in TEXTS)
        check(f"token ids, add_special_tokens={special}", same)
    check("special tokens", (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
          == (BOS, EOS, EOS))


def check_template(tokenizer):
    """The recorded renderings."""
    for index, (messages, generate, expected) in enumerate(CONVERSATIONS):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
        check(f"chat template, conversation {index + 1}", text == expected)


def random_message(rng):
    """A message of any role, sometimes with tool calls."""
    role = rng.choice(["system", "user", "user", "assistant", "assistant", "tool", "calls"])
    content = rng.choice(["hi", "a\nb", "<think>\nx\n</think>\n\ny", "", " s ", "</think>", "<b>&\"é"])
    if role != "calls":
        return said(role, content)
    call = {"type": "function", "function": {"name": "f", "arguments": rng.choice(["{}", {"a": "é<"}])}}
    return {"role": "assistant", "content": rng.choice([None, content]),
            "tool_calls": [call] * rng.randint(1, 3)}


def check_reference(tokenizer, path):
    """The renderings of another template file over random conversations."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    # transformers leaves out a content of None; the reference expects it.
    with open(path, encoding="utf-8") as file:
        reference = environment.from_string(file.read())
    rng, same = random.Random(1), 0
    for _ in range(3000):
        messages = [random_message(rng) for _ in range(rng.randint(1, 6))]
        generate = rng.random() < 0.5
        expected = reference.render(messages=messages, add_generation_prompt=generate, bos_token=BOS,
                                    eos_token=EOS, enable_thinking=True)
        same += expected == tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=generate)
    check(f"chat template against the reference, {same} of 3000 conversations", same == 3000)


@torch.inference_mode()
def check_generation(tokenizer, model, plain, count):
    """Greedy tokens of `generate` and of the recipe's sampler."""
    own = export.read_weights(MODEL_FOLDER, TinyQwen2(Architecture()))
    tests = evaluate.held_out_problems(Training.seed + 2, count)
    prompts = [tokenizer.apply_chat_template(p.messages(), add_generation_prompt=True,
                                             return_dict=False) for p in tests]
    check("prompt ids", prompts == chat.Encoder(plain).prompts(tests))
    same = 0
    for prompt, mine in zip(prompts, evaluate.greedy(own, prompts)):
        output = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=evaluate.NEW_TOKENS_MAX,
                                temperature=None, top_p=None, pad_token_id=tokenizer.pad_token_id)
        theirs = output[0, len(prompt):].tolist()
        same += mine == [token for token in theirs if token != tokenizer.eos_token_id]
    check(f"greedy tokens, {same} of {count} prompts", same == count)


def main():
    """Runs every check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference-template", help="a jinja file to compare the chat template with")
    parser.add_argument("--prompts", type=int, default=24, help="prompts to generate from")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(MODEL_FOLDER)
    model = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32).eval()
    plain = Tokenizer.from_file(str(MODEL_FOLDER / "tokenizer.json"))
    check_tokenizer(tokenizer, plain)
    check_template(tokenizer)
    if options.reference_template:
        check_reference(tokenizer, options.reference_template)
    check_generation(tokenizer, model, plain, options.prompts)


if __name__ == "__main__":
    main()
