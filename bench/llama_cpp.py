#!/usr/bin/env python3
"""The engine beside llama.cpp: one GGUF file, the same threads, in turn, in one run.

`scripts/setup bench` builds llama.cpp for this processor into .venv-bench; run this with
.venv-bench/bin/python. docs/benchmarks.md says how to read the table.
"""

import argparse
import ctypes
import dataclasses
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

# This file has the name of the package that it needs: Python must not find it first.
sys.path = [path for path in sys.path if pathlib.Path(path).resolve() != pathlib.Path(__file__).resolve().parent]
try:
    import llama_cpp
except ImportError:
    sys.exit("bench: llama.cpp is missing\n  next: scripts/setup bench, then .venv-bench/bin/python bench/llama_cpp.py")

ROOT = pathlib.Path(__file__).resolve().parents[1]
STEP_TOKENS = 512  # most tokens of one forward pass, on both sides
SECONDS_MIN = 0.05  # of one figure, as in holdfast perf


@dataclasses.dataclass(frozen=True)
class Test:
    phase: str  # "prefill" or "decode"
    batch: int  # sequences
    tokens: int  # of each

    def name(self) -> str:
        return f"prefill {self.tokens}" if self.phase == "prefill" else f"decode {self.batch} x {self.tokens}"


class Llama:
    """A model in llama.cpp, through its C API: llama_decode with flash attention and f16 KV."""

    def __init__(self, path: str, threads: int, depth: int):
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)  # kept: the library holds it
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
        if not self._model:
            raise SystemExit(f"bench: llama.cpp cannot load {path}")
        self._vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._threads, self._depth = threads, depth
        self._batch = llama_cpp.llama_batch_init(STEP_TOKENS, 0, 1)

    def context(self, sequences: int, tokens: int):
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = sequences * ((self._depth + tokens + 255) // 256 * 256)
        parameters.n_batch = parameters.n_ubatch = STEP_TOKENS
        parameters.n_seq_max = sequences
        parameters.n_threads = parameters.n_threads_batch = self._threads
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        context = llama_cpp.llama_init_from_model(self._model, parameters)
        if not context:
            raise SystemExit("bench: llama.cpp makes no context")
        return context

    def decode(self, context, rows: list[tuple[int, int, bool]]):
        """One forward pass over (sequence, position, wants logits)."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, (sequence, position, logits) in enumerate(rows):
            batch.token[i] = (sequence * 31 + position) * 7919 % self._vocab
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = logits
        if llama_cpp.llama_decode(context, batch) != 0:
            raise SystemExit("bench: llama_decode failed")
        llama_cpp.llama_get_logits(context)  # waits for the result

    def prefill(self, context, begin: int, tokens: int):
        for at in range(begin, begin + tokens, STEP_TOKENS):
            end = min(at + STEP_TOKENS, begin + tokens)
            self.decode(context, [(0, p, p + 1 == begin + tokens) for p in range(at, end)])

    def fill(self, context, sequences: int):
        """All sequences get the same `depth` tokens before what is measured."""
        memory = llama_cpp.llama_get_memory(context)
        llama_cpp.llama_memory_clear(memory, True)
        self.prefill(context, 0, self._depth)
        for sequence in range(1, sequences if self._depth else 0):
            llama_cpp.llama_memory_seq_cp(memory, 0, sequence, -1, -1)

    def run(self, context, test: Test):
        if test.phase == "prefill":
            self.prefill(context, self._depth, test.tokens)
            return
        for step in range(test.tokens):
            self.decode(context, [(s, self._depth + step, True) for s in range(test.batch)])

    def rate(self, test: Test) -> float:
        """Tokens per second, after a warm-up."""
        context = self.context(test.batch, test.tokens)
        try:
            self.fill(context, test.batch)
            self.run(context, dataclasses.replace(test, tokens=min(test.tokens, 2)))
            seconds, tokens = 0.0, 0
            while seconds < SECONDS_MIN:
                self.fill(context, test.batch)
                start = time.perf_counter()
                self.run(context, test)
                seconds += time.perf_counter() - start
                tokens += test.batch * test.tokens
            return tokens / seconds
        finally:
            llama_cpp.llama_free(context)


def holdfast(options, path: str, tests: list[Test]) -> tuple[dict[Test, float], float, float]:
    """One round of holdfast perf: rates, the read bandwidth, bytes of weights a step."""
    prompts = [t.tokens for t in tests if t.phase == "prefill"] or [0]
    batches = [t.batch for t in tests if t.phase == "decode"] or [0]
    command = [str(options.build / "holdfast"), "perf", path, "-o", "json", "-r", "1", "-t", str(options.threads),
               "-p", ",".join(map(str, prompts)), "-b", ",".join(map(str, batches)), "-n", str(options.tokens),
               "--depth", str(options.depth), "--kv", options.kv, "--numerics", options.numerics]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)}\n{run.stderr}")
    report = json.loads(run.stdout)
    measured = report["runs"][0]
    rates = {Test(t["phase"], t["batch"], t["tokens"]): t["tokens_per_second"]["median"] for t in measured["tests"]}
    return rates, measured["read_bandwidth"]["median"], report["step_weight_bytes"]


def write_model(options, folder: str) -> str:
    path = f"{folder}/random.gguf"
    subprocess.run([options.build / "holdfast", "perf", "--shape", options.shape, "--weights", options.weights,
                    "--write", path], check=True)
    return path


def compare(options, path: str, tests: list[Test]) -> dict:
    """Rounds of both, who goes first alternating, so that a slow moment hits both."""
    llama = Llama(path, options.threads, options.depth)
    rounds = []
    for index in range(options.rounds):
        def theirs():
            return {test: llama.rate(test) for test in tests}
        def ours():
            return holdfast(options, path, tests)
        order = (theirs, ours) if index % 2 == 0 else (ours, theirs)
        results = {step.__name__: step() for step in order}
        rates, bandwidth, step_bytes = results["ours"]
        rounds.append({"llama.cpp": results["theirs"], "holdfast": rates, "bandwidth": bandwidth,
                       "step_bytes": step_bytes})
        print(f"bench: round {index + 1} of {options.rounds} done", file=sys.stderr)
    return summarize(tests, rounds)


def summarize(tests: list[Test], rounds: list[dict]) -> dict:
    result = {"bandwidth": statistics.median(r["bandwidth"] for r in rounds), "tests": []}
    for test in tests:
        ratios = [r["holdfast"][test] / r["llama.cpp"][test] for r in rounds]
        entry = {"test": test.name(), "ratio": statistics.median(ratios), "ratios": ratios}
        for name in ("llama.cpp", "holdfast"):
            rates = [r[name][test] for r in rounds]
            entry[name] = {"median": statistics.median(rates), "rounds": rates}
            if test.phase == "decode":
                entry[name]["bandwidth_share"] = statistics.median(
                    r[name][test] / test.batch * r["step_bytes"] / r["bandwidth"] for r in rounds)
        result["tests"].append(entry)
    return result


def print_table(about: dict, result: dict):
    for name, value in about.items():
        print(f"{name}: {value}  ")
    print(f"read bandwidth: {result['bandwidth'] / 1e9:.1f} GB/s\n")
    print("| tokens/s | llama.cpp | holdfast | ratio | reads at: llama.cpp | holdfast |")
    print("|---|---|---|---|---|---|")

    def share(side: dict) -> str:
        return f"{100 * side['bandwidth_share']:.0f} %" if "bandwidth_share" in side else "-"
    for entry in result["tests"]:
        theirs, ours = entry["llama.cpp"], entry["holdfast"]
        print(f"| {entry['test']} | {theirs['median']:.1f} | {ours['median']:.1f} | {entry['ratio']:.2f} "
              f"| {share(theirs)} | {share(ours)} |")
    print("\nMedians; the ratio is the median of the rounds' ratios. Reads at: weights only, as a share of the "
          "bandwidth.")


def machine(options, path: str) -> dict:
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "threads": options.threads,
        "load average": f"{os.getloadavg()[0]:.2f}",
        "model": f"{path if options.model else f'{options.shape}, random weights, {options.weights}'}",
        "holdfast": f"KV {options.kv}, {options.numerics} numerics",
        "llama.cpp": f"llama-cpp-python {llama_cpp.__version__}, KV f16, flash attention",
        "command": " ".join(sys.argv),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a GGUF file [a random one of --shape]")
    parser.add_argument("--shape", default="r1-1.5b", help="of the random model [r1-1.5b]")
    parser.add_argument("--weights", default="q8_0", help="of the random model [q8_0]")
    parser.add_argument("--kv", default="bf16", help="holdfast's keys and values; llama.cpp's are f16 [bf16]")
    parser.add_argument("--numerics", default="portable", choices=("portable", "native"))
    parser.add_argument("--prompts", default="512", help="tokens of prefills [512]")
    parser.add_argument("--batches", default="1,8,32", help="sequences that decode at once [1,8,32]")
    parser.add_argument("--tokens", type=int, default=16, help="that each sequence decodes [16]")
    parser.add_argument("--depth", type=int, default=0, help="tokens before the measured ones [0]")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="[all]")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="folder of the programs")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    tests = [Test("prefill", 1, int(n)) for n in options.prompts.split(",") if int(n) > 0]
    tests += [Test("decode", int(b), options.tokens) for b in options.batches.split(",") if int(b) > 0]
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        path = options.model or write_model(options, folder)
        about = machine(options, path)
        result = compare(options, path, tests)
    if options.output == "json":
        print(json.dumps({"machine": about, **result}, indent=2))
    else:
        print_table(about, result)


if __name__ == "__main__":
    main()
