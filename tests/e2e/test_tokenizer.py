"""The engine's tokenizer beside the `tokenizers` package, live."""

import json
import random

import tokenizers

import service

PIECES = ["What is ", "3478", " + ", "今天", "天气", "你好，世界", "é", "e\u0301", "ſ", "'S", "'ll", "DON'T", " \u3000", "\n\n", "\r\n",
          "\t", "   ", "👩‍👩‍👧", "🦙", "Привет", "مرحبا", "ไทย", "हिन्दी", "𠀀", "ﬁ", "①", "½", "_", "__init__", "#include <x>", "!!??",
          "<think>", "</think>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<|", "｜>", "\u200b", "\x07", "0000", "x" * 50]


def test_random_texts_have_the_ids_of_the_tokenizers_package(shared):
    reference = tokenizers.Tokenizer.from_file(str(service.MODEL / "tokenizer.json"))
    worker = shared.instances()[0]["url"]
    chance = random.Random(11)
    for _ in range(300):
        text = "".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 40)))
        status, _, raw = service.post(worker + "/tokenize", {"model": "tiny-r1", "prompt": text, "add_special_tokens": False})
        assert status == 200
        ids = json.loads(raw)["tokens"]
        assert ids == reference.encode(text, add_special_tokens=False).ids, repr(text)
        status, _, raw = service.post(worker + "/detokenize", {"model": "tiny-r1", "tokens": ids})
        assert json.loads(raw)["prompt"] == reference.decode(ids, skip_special_tokens=False)
