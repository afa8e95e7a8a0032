"""The whole recipe: data, tokenizer, training, export, evaluation and the card's figures.

Run it again after an interruption and it goes on from the last checkpoint. A finished run is not
trained again; remove build/tiny-r1 to start from nothing.
"""

import argparse
import json
import os
from dataclasses import replace

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: do not spin on a shared machine

import torch

import card
import chat
import evaluate
import export
import tokenizer
from model import TinyQwen2
from settings import HELD_OUT_PROBLEMS, MODEL_FOLDER, RUN_FOLDER, Architecture, Training
from train import Run


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=Training.minutes,
                        help="length of the training run (the learning rate follows it)")
    parser.add_argument("--new-tokenizer", action="store_true",
                        help="train the tokenizer again, even if there is one")
    return parser.parse_args()


def interim(encoder, seed):
    """A function that prints the accuracy on a few held-out problems."""
    tests = evaluate.held_out_problems(seed + 1, 96)

    def report(model):
        scores, wrong = evaluate.accuracy(model, encoder, tests, 96, new_tokens_max=480)
        print(evaluate.line(scores), flush=True)
        for problem, text in wrong[:3]:
            print("wrong", repr(problem.question), repr(text), problem.value, flush=True)

    return report


def final_figures(run, encoder):
    """Evaluates the exported weights and writes figures.json."""
    model = export.read_weights(MODEL_FOLDER, TinyQwen2(Architecture())).to(run.device)
    tests = evaluate.held_out_problems(run.training.seed, HELD_OUT_PROBLEMS)
    scores, wrong = evaluate.accuracy(model, encoder, tests)
    print(evaluate.line(scores), flush=True)
    for problem, text in wrong[:20]:
        print("WRONG", problem.category, repr(problem.question), repr(text), problem.value)
    return card.figures(run, scores)


def main():
    """Runs every step in order."""
    options = arguments()
    training = replace(Training(), minutes=options.minutes)
    if options.new_tokenizer:
        (MODEL_FOLDER / "tokenizer.json").unlink(missing_ok=True)
    RUN_FOLDER.mkdir(parents=True, exist_ok=True)
    encoder = chat.Encoder(tokenizer.write(MODEL_FOLDER, training.seed))
    run = Run(encoder, training)
    run.load()
    run.run(interim(encoder, training.seed))
    export.write(MODEL_FOLDER, run.model, training.seed)
    figures = final_figures(run, encoder)
    export.write_json(MODEL_FOLDER / "recipe" / "figures.json", figures)
    card.write(MODEL_FOLDER / "README.md", figures)
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main()
