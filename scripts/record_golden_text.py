"""Records what the room `text` is compared with, using the package tokenizers: the folders qwen2 and
llama3, and ids.json.

The two tokenizers are trained here, on the sentences below. Everything is deterministic.
"""

import json
import pathlib
import random

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TARGET = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "text"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"]
VISIBLE = ["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "<thinking>", "<"]
NORMALIZED = ["e\u0301!"]

CORPUS = """
The ferry leaves at seven and comes back at nine, unless the wind is against it.
She's sure they'll say that we've met before; I'm not, and he'd rather you're quiet.
Every night the keeper counts the lamps, and every morning the lamps are counted again.
for (int i = 0; i < count; ++i) { total += price[i] * amount[i]; }\n\n    return total;
Wenn der Wind über die Dächer weht, hört man die Glocken der Brücke läuten.
Вечером паром возвращается, и капитан считает пассажиров. Утром он считает снова.
每天早上，船长数一数乘客；每天晚上，他再数一遍。请一步一步地想。
毎朝、船長は乗客を数える。がぎぐげご。한국어 문장도 하나 있습니다.
Là-bas, l'été, on mange des crêpes à la crème. ½ + ¼ = ¾, and 3.14159 is about π. 😀👍🏽
"""

PIECES = [
    "The", " the", " ferry", "counts", "don't", "it's", "WE'LL", "they'Ve", "I'M", "'s", "'S", "'T", "'re",
    "'\u017f", "'\u017fa", "'", "''", "'x", "1", "12", "1234567", "\u00bd", "\u0663\u0664", "\u216b", " ", "  ",
    "    ", "\n", "\n\n", "\r\n", " \n ", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\u200b", "\x00", "\x1c",
    "船长", "每天", "。", "，", "Брюки", "Brücke", "Bru\u0308cke", "e\u0301", "e\u0301!", "\u00e9!",
    "a\u0323\u0302", "a\u0302\u0323", "\u2126", "\u212b", "\u0344", "\u0958", "\u304b\u3099", "\u304c", "\u1112\u1161\u11ab",
    "\ud55c", "한", "文\ufe0f", "😀", "👨\u200d👩\u200d👧", "👍🏽", "🇩🇪", "\u0301", "\u0301\u0300\u0327", "i\u0307\u0323", "...", "!?", "+=",
    " (", "{\n", "};\r\n\n", " —", "<", "<<", "<th", "<think", "<thinking", "<｜", "<｜User", "ﬁ", "Ⅻ", "ª", "\U0001d15e",
    "\uac00\u11a8", "\u0f71\u0f72", "\ufb1d", "Ā", "Ġ", "unreachable", " unreachable", "zzzzzzzz",
] + SPECIAL + VISIBLE


def added(content, special=False, normalized=False):
    return AddedToken(content, special=special, normalized=normalized)


def train(family):
    tokenizer = Tokenizer(models.BPE())
    qwen2 = family == "qwen2"
    pattern = PATTERN.replace("DIGITS", "" if qwen2 else "{1,3}")
    if qwen2:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(CORPUS.splitlines(keepends=True) * 4, trainer)
    described = json.loads(tokenizer.to_str())
    model = described["model"]
    if not qwen2:
        # A token that no merge leads to, and merges in the form of older files.
        model["vocab"]["Ġunreachable"] = len(model["vocab"])
        model["ignore_merges"] = True
        model["merges"] = [" ".join(pair) for pair in model["merges"]]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.add_tokens([added(t, special=True) for t in SPECIAL] + [added(t) for t in VISIBLE]
                         + [added(t, normalized=True) for t in NORMALIZED])
    described = json.loads(tokenizer.to_str())
    described["model"]["merges"] = model["merges"]
    folder = TARGET / family
    folder.mkdir(exist_ok=True)
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text + "\n")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def texts():
    chance = random.Random(20)
    made = ["", *PIECES]
    for _ in range(300):
        made.append("".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 9))))
    for _ in range(60):
        made.append("".join(chr(chance.choice([
            chance.randrange(0x20, 0x7F), chance.randrange(0xA0, 0x600), chance.randrange(0x900, 0xE80),
            chance.randrange(0x1E00, 0x2400), chance.randrange(0x3040, 0x3100), chance.randrange(0xAC00, 0xAD00),
        ])) for _ in range(12)))
    return made


def record_ids():
    golden = {"recorded_with": f"tokenizers {tokenizers.__version__}", "families": []}
    for family in ["qwen2", "llama3"]:
        tokenizer = train(family)
        unfit = {tokenizer.id_to_token(tokenizer.token_to_id(t)) for t in NORMALIZED}
        cases = []
        for text in texts():
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            cases.append({"text": text, "ids": ids})
            # The package decodes the spelling of these tokens as if it were written in byte symbols.
            if not any(tokenizer.id_to_token(id) in unfit for id in ids):
                cases[-1]["decoded"] = tokenizer.decode(ids, skip_special_tokens=True)
        golden["families"].append({"folder": family, "cases": cases})
    (TARGET / "ids.json").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    record_ids()
