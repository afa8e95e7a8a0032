#!/usr/bin/env python3
"""Records what `transformers` computes in float32 for tiny models of every supported architecture.

Writes tests/golden/architectures.json. The weights are no part of it: they follow from a seed by
Philox, here and in src/inference/model/test_checkpoint.h. For each model: its configuration, token ids, the
logits of the whole vocabulary at some positions and the greedy continuation. Needs torch and
transformers.
"""

import json
import math
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

TARGET = Path(__file__).resolve().parent.parent / "tests" / "golden" / "architectures.json"
SEED = 3
TOKENS = 96
POSITIONS = (0, 1, 50, TOKENS - 1)
CONTINUATION = 24
DIGITS = 8

COMMON = {"layers": 3, "vocab": 211, "context": 1024, "rms_norm_epsilon": 1e-6, "rope_theta": 10000.0,
          "tied_head": False}
SCALING = {"factor": 8.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": 64}
MODELS = {
    "qwen2": {"architecture": "qwen2", "hidden": 96, "heads": 6, "kv_heads": 2, "head_dim": 32, "ffn": 176},
    "qwen2-tied": {"architecture": "qwen2", "hidden": 128, "heads": 4, "kv_heads": 1, "head_dim": 32, "ffn": 160,
                   "tied_head": True, "rope_theta": 1000000.0},
    "llama": {"architecture": "llama", "hidden": 64, "heads": 4, "kv_heads": 4, "head_dim": 32, "ffn": 192,
              "rms_norm_epsilon": 1e-5},
    "llama-scaled": {"architecture": "llama", "hidden": 128, "heads": 8, "kv_heads": 2, "head_dim": 64, "ffn": 160,
                     "rope_theta": 500000.0, "rms_norm_epsilon": 1e-5, "rope_scaling": SCALING},
    "llama-tied": {"architecture": "llama", "hidden": 96, "heads": 3, "kv_heads": 1, "head_dim": 32, "ffn": 128,
                   "rope_theta": 500000.0, "tied_head": True, "rope_scaling": SCALING | {"factor": 32.0}},
}


def uniform(seed, stream, count):
    """base::uniform for positions 0 to count: the first word of Philox4x32-10, 24 bits of it."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    zeros = np.zeros(count, np.uint64)
    counter = [np.arange(count, dtype=np.uint64), zeros, zeros + np.uint64(stream), zeros]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        product_0 = counter[0] * np.uint64(0xD2511F53)
        product_1 = counter[2] * np.uint64(0xCD9E8D57)
        counter = [(product_1 >> shift) ^ counter[1] ^ np.uint64(key[0]), product_1 & mask,
                   (product_0 >> shift) ^ counter[3] ^ np.uint64(key[1]), product_0 & mask]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return (counter[0] >> np.uint64(8)).astype(np.float32) * np.float32(2.0 ** -24)


def tensors(model):
    """All tensors by name: random_tensors() of test_checkpoint.h, operation by operation."""
    made = {}

    def add(name, shape, offset, scale):
        noise = np.float32(2) * uniform(SEED, len(made), math.prod(shape)) - np.float32(1)
        values = np.float32(offset) + np.float32(scale) * noise
        made[name] = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).reshape(shape)

    hidden, ffn, dim = model["hidden"], model["ffn"], model["head_dim"]
    attended, kept = model["heads"] * dim, model["kv_heads"] * dim
    in_hidden = np.float32(2) / np.sqrt(np.float32(hidden))
    in_ffn = np.float32(2) / np.sqrt(np.float32(ffn))
    add("model.embed_tokens.weight", (model["vocab"], hidden), 0, 1)
    for i in range(model["layers"]):
        layer = f"model.layers.{i}."
        add(layer + "input_layernorm.weight", (hidden,), 1, 0.3)
        add(layer + "post_attention_layernorm.weight", (hidden,), 1, 0.3)
        add(layer + "self_attn.q_proj.weight", (attended, hidden), 0, in_hidden)
        add(layer + "self_attn.k_proj.weight", (kept, hidden), 0, in_hidden)
        add(layer + "self_attn.v_proj.weight", (kept, hidden), 0, in_hidden)
        if model["architecture"] == "qwen2":
            add(layer + "self_attn.q_proj.bias", (attended,), 0, 1)
            add(layer + "self_attn.k_proj.bias", (kept,), 0, 1)
            add(layer + "self_attn.v_proj.bias", (kept,), 0, 1)
        add(layer + "self_attn.o_proj.weight", (hidden, attended), 0, in_hidden)
        add(layer + "mlp.gate_proj.weight", (ffn, hidden), 0, in_hidden)
        add(layer + "mlp.up_proj.weight", (ffn, hidden), 0, in_hidden)
        add(layer + "mlp.down_proj.weight", (hidden, ffn), 0, in_ffn)
    add("model.norm.weight", (hidden,), 1, 0.3)
    if not model["tied_head"]:
        add("lm_head.weight", (model["vocab"], hidden), 0, in_hidden)
    return made


def reference(model):
    """The model of transformers with these tensors."""
    fields = {"num_hidden_layers": model["layers"], "hidden_size": model["hidden"],
              "num_attention_heads": model["heads"], "num_key_value_heads": model["kv_heads"],
              "head_dim": model["head_dim"], "intermediate_size": model["ffn"], "vocab_size": model["vocab"],
              "max_position_embeddings": model["context"], "rms_norm_eps": model["rms_norm_epsilon"],
              "tie_word_embeddings": model["tied_head"], "attn_implementation": "eager"}
    rope = {"rope_type": "default", "rope_theta": model["rope_theta"]}
    if scaling := model.get("rope_scaling"):
        rope |= {"rope_type": "llama3", "factor": scaling["factor"],
                 "low_freq_factor": scaling["low_frequency_factor"],
                 "high_freq_factor": scaling["high_frequency_factor"],
                 "original_max_position_embeddings": scaling["original_context"]}
    kinds = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    configuration, network = kinds[model["architecture"]]
    made = network(configuration(rope_parameters=rope, **fields)).float().eval()
    state = {name: torch.from_numpy(values.copy()) for name, values in tensors(model).items()}
    if model["tied_head"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    made.load_state_dict(state)
    return made


@torch.inference_mode()
def record(name, model):
    """Everything about one model."""
    made = reference(model)
    ids = [int(u * model["vocab"]) for u in uniform(5, len(name), TOKENS)]
    logits = made(torch.tensor([ids])).logits[0]
    greedy, margins = [], []
    for _ in range(CONTINUATION):
        best = made(torch.tensor([ids + greedy])).logits[0, -1].topk(2)
        greedy.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
    print(f"{name}: smallest margin {min(margins):.3g}")
    rows = [{"position": p, "values": [float(f"{v:.{DIGITS}g}") for v in logits[p].tolist()]} for p in POSITIONS]
    return {"name": name, "seed": SEED, "config": model, "ids": ids, "logits": rows, "greedy": greedy}


def main():
    """Records all models and writes."""
    records = [record(name, COMMON | model) for name, model in MODELS.items()]
    TARGET.write_text(json.dumps({"compute": "float32", "models": records}, separators=(",", ":")) + "\n",
                      encoding="utf-8")
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
