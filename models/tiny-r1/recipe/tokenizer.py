"""Trains the byte-level BPE tokenizer and writes its files in the layout of the distills."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

import phrases
import problems
from settings import ADDED_TOKENS, BASE_VOCABULARY, BOS, BOS_ID, EOS, Architecture

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def corpus(seed, count):
    """Texts of training problems, with small talk and system prompts over-represented."""
    rng = problems.generator(seed, "tokenizer")
    texts = [*phrases.SYSTEM] * (count // 400)
    for _ in range(count):
        problem = problems.make(rng, rng.choice(list(problems.MAKERS)), held_out=False, context=False)
        texts += [problem.question, problem.completion().replace("</think>", "")]
    return texts


def blank():
    """The tokenizer's pipeline without a vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def train(seed, count=20000):
    """A tokenizer whose rows are: bytes, merges, then the added tokens."""
    tokenizer = blank()
    trainer = trainers.BpeTrainer(
        vocab_size=BASE_VOCABULARY, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(corpus(seed, count), trainer)
    if tokenizer.get_vocab_size() != BASE_VOCABULARY:
        raise ValueError(f"the corpus yields only {tokenizer.get_vocab_size()} tokens")
    tokenizer.add_tokens([
        AddedToken(text, special=special, normalized=False) for text, special in ADDED_TOKENS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[BOS, "$A"], pair=[BOS, "$A", BOS, "$B:1"], special_tokens=[(BOS, BOS_ID)])
    return tokenizer


def config(chat_template):
    """The content of tokenizer_config.json."""
    def token(text):
        return {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": True,
                "rstrip": False, "single_word": False}

    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": token(BOS),
        "clean_up_tokenization_spaces": False,
        "eos_token": token(EOS),
        "legacy": True,
        "model_max_length": Architecture.max_position_embeddings,
        "pad_token": token(EOS),
        "sp_model_kwargs": {},
        "unk_token": None,
        "tokenizer_class": "LlamaTokenizerFast",
        "chat_template": chat_template,
    }


def write(folder, seed):
    """Writes tokenizer.json; keeps one that is there, since the weights belong to it."""
    path = folder / "tokenizer.json"
    if not path.exists():
        train(seed).save(str(path))
    return Tokenizer.from_file(str(path))


def write_config(folder, chat_template):
    """Writes tokenizer_config.json."""
    text = json.dumps(config(chat_template), ensure_ascii=False, indent=2)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
