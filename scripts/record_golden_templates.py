#!/usr/bin/env python3
"""Records what chat templates render with transformers.

    record_golden_templates.py NAME=TEMPLATE.jinja ...

NAME is one of the formats that `--template` knows; several files may be given for one name, and must
then agree. Writes tests/golden/text/templates.json: for each format every conversation below with
each ending: the generation prompt, none, and the last message left open where transformers allows
it. Needs the packages transformers and jinja2.
"""

import json
import sys
from pathlib import Path

import transformers
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "golden" / "text" / "templates.json"
BOS = "<｜begin▁of▁sentence｜>"

CONVERSATIONS = [
    [],
    ["user:Hello"],
    ["system:Be brief.", "user:Hello"],
    ["system:First.", "user:Hello", "system:Last."],
    ["system:First.", "system:", "user:Hello"],
    ["system:", "system:Second.", "user:Hello"],
    ["user:1+1?", "assistant:<think>\nadd\n</think>\n\n2", "user:And 2+2?"],
    ["user:a", "assistant:x</think>y</think>z", "user:b"],
    ["user:a", "assistant:</think>", "user:b"],
    ["user:Go on", "assistant:I was saying"],
    ["user:Go on", "assistant:<think>\nHmm. "],
    ["user:Go on", "assistant:<think>\nHmm.</think>So"],
    ["user:", "assistant:", "user:"],
    ["assistant:I begin."],
    ["user:Weather?", "tool:{\"sky\": \"clear\"}"],
    ["user:Weather?", "tool:one", "tool:two"],
    ["user:Weather?", "tool:one", "assistant:thought</think>Clear.", "user:Thanks"],
    ["user:Weather?", "tool:one", "assistant:thought</think>Clear."],
    ["user:Weather?", "tool:one", "assistant:Clear.", "user:And now?", "tool:two"],
    ["user:Weather?", "tool:one", "user:never mind"],
    ["user:Weather?", "tool:one", "system:Late."],
    ["tool:"],
    ["user:{{ bos_token }} {% if %} <b>&amp;'\"\\n</b>\n\ttab \u0000 😀 <｜User｜> e\u0301"],
]


def render(source, messages, **ending):
    """The prompt, or None where transformers refuses."""
    try:
        prompts, _ = render_jinja_template(
            conversations=[messages], chat_template=source, bos_token=BOS, enable_thinking=True, **ending)
        return prompts[0]
    except ValueError:
        return None


def record(sources):
    """All conversations with all endings; the sources must agree."""
    endings = {
        "answer": {"add_generation_prompt": True},
        "message": {"add_generation_prompt": False},
        "open_message": {"add_generation_prompt": False, "continue_final_message": True},
    }
    cases = []
    for conversation in CONVERSATIONS:
        messages = [dict(zip(("role", "content"), turn.split(":", 1))) for turn in conversation]
        for end, options in endings.items():
            # Written in front, such a message would be continued by dropping all others.
            if end == "open_message" and messages and messages[-1]["role"] == "system":
                continue
            prompts = {render(source, messages, **options) for source in sources}
            assert len(prompts) == 1, f"the templates differ on {conversation}: {prompts}"
            cases.append({"messages": messages, "end": end, "prompt": prompts.pop()})
    return cases


def main():
    """Reads the templates that the arguments name."""
    formats = {}
    for argument in sys.argv[1:]:
        name, path = argument.split("=", 1)
        formats.setdefault(name, []).append(Path(path).read_text(encoding="utf-8"))
    # One case a line, so that a change is seen in a diff.
    lines = [
        json.dumps({"format": name, **case}, separators=(",", ":"))
        for name, sources in formats.items() for case in record(sources)
    ]
    head = f'{{"recorded_with":"transformers {transformers.__version__}","cases":[\n'
    TARGET.write_text(head + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(formats)} formats, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
