#!/usr/bin/env python3
"""Records the token ids of models/tiny-r1's tokenizer for the texts of tests/corpus/tokenizer.json.

Writes tests/golden/tiny_r1_tokens.json: for each text its ids, without any token added around it,
and what they decode to (special tokens kept). Needs the `tokenizers` package.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "corpus" / "tokenizer.json"
TARGET = ROOT / "tests" / "golden" / "tiny_r1_tokens.json"


def record(tokenizer, text):
    """One text with its ids and their decoding."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}


def main():
    """Encodes every text; one record a line, so that a change is seen in a diff."""
    tokenizer = Tokenizer.from_file(str(ROOT / "models" / "tiny-r1" / "tokenizer.json"))
    texts = json.loads(CORPUS.read_text(encoding="utf-8"))
    lines = [json.dumps(record(tokenizer, text), separators=(",", ":")) for text in texts]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(lines)} texts, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
