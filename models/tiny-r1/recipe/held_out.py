"""Writes held_out.jsonl: held-out problems with their answers, for `holdfast eval`.

Usage: python models/tiny-r1/recipe/held_out.py
They are the first of those that the accuracy in README.md was measured with.
"""

import json

import problems
from settings import HELD_OUT_PROBLEMS, MODEL_FOLDER, Training

COUNT = 200


def record(problem):
    """One line: the conversation, the reference completion, and what makes an answer right."""
    line = {"category": problem.category, "language": problem.language,
            "messages": problem.messages(), "completion": problem.completion()}
    if problem.value is None:
        return line | {"answers": list(problem.right_answers)}
    return line | {"value": problem.value}


def main():
    """Writes the file into the model's folder."""
    rng = problems.generator(Training().seed, "held-out")
    lines = [json.dumps(record(problem), ensure_ascii=False)
             for problem in problems.sample(rng, True, HELD_OUT_PROBLEMS)[:COUNT]]
    (MODEL_FOLDER / "held_out.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
