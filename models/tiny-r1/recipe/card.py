"""The model card: a template whose figures come from the run."""

import platform
from pathlib import Path

import torch

import evaluate
import problems
from settings import ADDED_TOKENS, BASE_VOCABULARY, MODEL_FOLDER, Architecture

TEMPLATE_PATH = Path(__file__).with_name("card.md")
NAMES = {"en": "English", "zh": "Chinese"}


def processor():
    """The name of the processor, or of the GPU that was used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"


def figures(run, scores):
    """Everything the card says about a run."""
    return {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "hardware": processor(),
        "torch": torch.__version__,
        "minutes": round(run.seconds / 60, 1),
        "steps": run.step,
        "problems": run.problems,
        "positions": run.positions,
        "positions_per_second": round(run.positions / max(run.seconds, 1e-9)),
        "seed": run.training.seed,
        "accuracy": {f"{category}/{language}": score
                     for (category, language), score in sorted(scores.items())},
    }


def percent(score):
    """A share as a cell of the table."""
    right, total = score
    return f"{100 * right / max(1, total):.1f} % ({right}/{total})"


def table(accuracy):
    """The accuracy table in Markdown."""
    scores = {tuple(key.split("/")): score for key, score in accuracy.items()}
    rows = ["| category | English | Chinese | both |", "|---|---|---|---|"]
    for category in [*problems.CATEGORIES, None]:
        cells = [percent(evaluate.total(scores, category, language)) for language in ("en", "zh", None)]
        name = category or "**all**"
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def write(path, content):
    """Fills the template."""
    a = Architecture()
    weights = MODEL_FOLDER / "model.safetensors"
    values = {
        **content,
        "parameters": f"{content['parameters']:,}",
        "problems": f"{content['problems']:,}",
        "positions": f"{content['positions'] / 1e6:.1f} million",
        "table": table(content["accuracy"]),
        "layers": a.num_hidden_layers, "hidden": a.hidden_size, "ffn": a.intermediate_size,
        "heads": a.num_attention_heads, "kv_heads": a.num_key_value_heads, "head_dim": a.head_dim,
        "rows": a.vocab_size, "real_rows": BASE_VOCABULARY + len(ADDED_TOKENS),
        "megabytes": f"{weights.stat().st_size / 1e6:.1f}",
        "held_out_share": f"{100 / problems.HELD_OUT_ONE_IN:.0f} %",
        "held_out": sum(score[1] for score in content["accuracy"].values()),
    }
    text = TEMPLATE_PATH.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", str(value))
    path.write_text(text, encoding="utf-8")
