"""Greedy accuracy on held-out problems, with a batched sampler that keeps keys and values."""

import re
from collections import defaultdict

import torch

import problems
from model import rope_tables
from settings import ADDED_TOKENS, BASE_VOCABULARY, EOS_ID

REAL_ROWS = BASE_VOCABULARY + len(ADDED_TOKENS)
NEW_TOKENS_MAX = 640


class Cache:
    """Keys and values of all layers for a batch of sequences, each row filled from the left."""

    def __init__(self, a, batch, length, where):
        shape = (a.num_hidden_layers, batch, a.num_key_value_heads, length, a.head_dim)
        self.keys = torch.zeros(shape, device=where)
        self.values = torch.zeros(shape, device=where)
        cos, sin = rope_tables(torch.arange(length), a.head_dim, a.rope_theta)
        self.cos, self.sin = cos.to(where), sin.to(where)

    def keep(self, rows):
        """Forgets all sequences but the given rows."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


def attend(q, keys, values, visible):
    """Attention of q [batch, new, heads, dim] to cached keys [batch, kv heads, seen, dim]."""
    batch, new, heads, dim = q.shape
    kv_heads = keys.shape[1]
    q = q.view(batch, new, kv_heads, heads // kv_heads, dim).permute(0, 2, 3, 1, 4)
    scores = torch.matmul(q.reshape(batch, kv_heads, -1, dim) * dim ** -0.5, keys.transpose(2, 3))
    scores = scores.view(batch, kv_heads, -1, new, keys.shape[2])
    scores = scores.masked_fill(~visible[:, None, None], float("-inf")).softmax(-1)
    mixed = torch.matmul(scores.view(batch, kv_heads, -1, keys.shape[2]), values)
    mixed = mixed.view(batch, kv_heads, -1, new, dim).permute(0, 3, 1, 2, 4)
    return mixed.reshape(batch, new, heads * dim)


def forward(model, ids, starts, cache):
    """Logits of the ids [batch, new], which stand at positions starts.. of their rows."""
    batch, new = ids.shape
    positions = starts[:, None] + torch.arange(new, device=ids.device)[None, :]
    seen = int(positions.max()) + 1
    flat = positions.reshape(-1)
    visible = torch.arange(seen, device=ids.device)[None, None, :] <= positions[:, :, None]
    row = torch.arange(batch, device=ids.device)[:, None]
    x = model.model.embed_tokens(ids.reshape(-1))
    for index, layer in enumerate(model.model.layers):
        q, k, v = layer.before(x, cache.cos[flat], cache.sin[flat])
        cache.keys[index][row, :, positions] = k.view(batch, new, *k.shape[1:])
        cache.values[index][row, :, positions] = v.view(batch, new, *v.shape[1:])
        mixed = attend(q.view(batch, new, *q.shape[1:]), cache.keys[index, :, :, :seen],
                       cache.values[index, :, :, :seen], visible)
        x = layer.after(x, mixed.reshape(batch * new, -1))
    return model.lm_head(model.model.norm(x)).view(batch, new, -1)[:, :, :REAL_ROWS]


@torch.inference_mode()
def greedy(model, prompts, new_tokens_max=NEW_TOKENS_MAX):
    """The greedy continuation of every prompt, without the end token, in float32."""
    model.eval()
    where = model.lm_head.weight.device
    lengths = torch.tensor([len(p) for p in prompts], device=where)
    longest = int(lengths.max())
    ids = torch.tensor([p + [EOS_ID] * (longest - len(p)) for p in prompts], device=where)
    cache = Cache(model.architecture, len(prompts), longest + new_tokens_max, where)
    logits = forward(model, ids, torch.zeros_like(lengths), cache)
    token = logits[torch.arange(len(prompts), device=where), lengths - 1].argmax(-1)
    alive = torch.arange(len(prompts), device=where)
    outputs = [[] for _ in prompts]
    for _ in range(new_tokens_max):
        going = token != EOS_ID
        if not bool(going.all()):
            alive, token, lengths = alive[going], token[going], lengths[going]
            cache.keep(going)
        if not len(alive):
            break
        for row, value in zip(alive.tolist(), token.tolist()):
            outputs[row].append(value)
        token = forward(model, token[:, None], lengths, cache)[:, -1].argmax(-1)
        lengths = lengths + 1
    return outputs


def right(problem, text):
    """Whether a completion is well-formed and its answer right."""
    parts = text.split("</think>")
    if len(parts) != 2 or not parts[0].strip():
        return False
    if problem.value is None:
        return parts[1].strip() in problem.right_answers
    found = re.findall(r"\*\*(-?\d+)\*\*", parts[1])
    return found == [problem.value]


def held_out_problems(seed, count):
    """The same held-out problems every time, each category with its share, half in each language."""
    rng = problems.generator(seed, "held-out")
    return problems.sample(rng, True, count)


def accuracy(model, encoder, tests, batch=128, new_tokens_max=NEW_TOKENS_MAX):
    """Right answers by (category, language): {key: [right, total]}, and the wrong ones."""
    tests = sorted(tests, key=lambda p: len(p.completion()))
    scores, wrong = defaultdict(lambda: [0, 0]), []
    prompts = encoder.prompts(tests)
    for start in range(0, len(tests), batch):
        outputs = greedy(model, prompts[start:start + batch], new_tokens_max)
        for problem, ids in zip(tests[start:start + batch], outputs):
            text = encoder.tokenizer.decode(ids, skip_special_tokens=False)
            good = right(problem, text)
            score = scores[problem.category, problem.language]
            score[0], score[1] = score[0] + good, score[1] + 1
            if not good:
                wrong.append((problem, text))
    return dict(scores), wrong


def total(scores, category=None, language=None):
    """Sums scores over a category and a language, each of them optional."""
    picked = [score for (c, l), score in scores.items()
              if category in (None, c) and language in (None, l)]
    return sum(s[0] for s in picked), sum(s[1] for s in picked)


def line(scores):
    """Interim figures in one line."""
    parts = [f"all {100 * ratio(total(scores)):.1f}"]
    for category in problems.CATEGORIES:
        parts.append(f"{category} {100 * ratio(total(scores, category)):.1f}")
    return "accuracy " + " ".join(parts)


def ratio(pair):
    """The share of right answers."""
    return pair[0] / max(1, pair[1])
