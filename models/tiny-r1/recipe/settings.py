"""Every number that shapes the model and its training."""

from dataclasses import dataclass
from pathlib import Path

MODEL_FOLDER = Path(__file__).resolve().parent.parent
RUN_FOLDER = MODEL_FOLDER.parent.parent / "build" / "tiny-r1"


@dataclass(frozen=True)
class Architecture:
    """Dimensions under the names of a Qwen2 config."""

    vocab_size: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 8192


@dataclass(frozen=True)
class Training:
    """The run; a token is one position of a padded batch."""

    seed: int = 20250120
    minutes: float = 7.0
    tokens_per_batch: int = 8192
    problems_per_chunk: int = 4096
    learning_rate: float = 2.5e-3
    learning_rate_end: float = 3e-5
    warmup_steps: int = 200
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    gradient_norm_max: float = 1.0
    sequence_tokens_max: int = 768
    save_every_minutes: float = 2.0
    decay_share: float = 0.3


BASE_VOCABULARY = 992
ADDED_TOKENS = [  # (text, special), in the order of the distills
    ("<｜end▁of▁sentence｜>", True),
    ("<｜User｜>", False),
    ("<｜Assistant｜>", False),
    ("<｜begin▁of▁sentence｜>", True),
    ("<|EOT|>", False),
    ("<think>", False),
    ("</think>", False),
    ("<｜tool▁calls▁begin｜>", False),
    ("<｜tool▁calls▁end｜>", False),
    ("<｜tool▁call▁begin｜>", False),
    ("<｜tool▁call▁end｜>", False),
    ("<｜tool▁sep｜>", False),
    ("<｜tool▁outputs▁begin｜>", False),
    ("<｜tool▁outputs▁end｜>", False),
    ("<｜tool▁output▁begin｜>", False),
    ("<｜tool▁output▁end｜>", False),
]
EOS, USER, ASSISTANT, BOS = (text for text, _ in ADDED_TOKENS[:4])
EOS_ID, BOS_ID = BASE_VOCABULARY, BASE_VOCABULARY + 3
HELD_OUT_PROBLEMS = 2000
