"""Writes the model folder: weights in bf16 and the JSON files around them."""

import json

import torch
from safetensors.torch import load_file, save_file

import chat
import tokenizer
from settings import BOS_ID, EOS_ID, Architecture


def model_config(a):
    """The content of config.json, with the fields of the distills."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "hidden_act": "silu",
        "hidden_size": a.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": a.intermediate_size,
        "max_position_embeddings": a.max_position_embeddings,
        "max_window_layers": a.num_hidden_layers,
        "model_type": "qwen2",
        "num_attention_heads": a.num_attention_heads,
        "num_hidden_layers": a.num_hidden_layers,
        "num_key_value_heads": a.num_key_value_heads,
        "rms_norm_eps": a.rms_norm_eps,
        "rope_theta": a.rope_theta,
        "sliding_window": a.max_position_embeddings,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.44.0",
        "use_cache": True,
        "use_mrope": False,
        "use_sliding_window": False,
        "vocab_size": a.vocab_size,
    }


def generation_config():
    """The content of generation_config.json."""
    return {
        "_from_model_config": True,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
        "transformers_version": "4.39.3",
    }


def write_json(path, content):
    """Writes one JSON file."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_weights(folder, model):
    """Writes model.safetensors in one move, so that nobody reads half a file."""
    tensors = {name: value.detach().cpu().to(torch.bfloat16).contiguous()
               for name, value in model.state_dict().items()}
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(folder / "model.safetensors")


def read_weights(folder, model):
    """Loads exported weights into a model, as float32."""
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict({name: value.float() for name, value in tensors.items()})
    return model


def write(folder, model, seed):
    """Writes everything the folder needs."""
    tokenizer.write(folder, seed)
    tokenizer.write_config(folder, chat.template_source())
    write_json(folder / "config.json", model_config(Architecture()))
    write_json(folder / "generation_config.json", generation_config())
    write_weights(folder, model)
