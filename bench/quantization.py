#!/usr/bin/env python3
"""What `holdfast quantize` loses, beside llama.cpp's quantizer; and its files in llama.cpp.

Needs .venv-bench (scripts/setup bench). Two models are quantized to every type: tiny-r1, written
twice as wide so that its rows hold whole blocks of 256, and normally distributed weights in the
same shapes. docs/benchmarks.md says how to read the tables.
"""

import argparse
import ctypes
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.request

# bench/llama_cpp.py has the name of the package that is needed: Python must not find it first.
sys.path = [path for path in sys.path if pathlib.Path(path).resolve() != pathlib.Path(__file__).resolve().parent]
try:
    import llama_cpp
    import numpy
except ImportError:
    sys.exit("bench: llama.cpp is missing\n  next: scripts/setup bench, then .venv-bench/bin/python bench/quantization.py")

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = ROOT / "models" / "tiny-r1"
# The numbers of ggml_type, ggml.h.
TYPES = {"q8_0": 8, "q6_k": 14, "q5_k": 13, "q4_k": 12, "q4_0": 2}
ANSWER_TOKENS = 512  # most of one answer


def read_safetensors(path: pathlib.Path) -> dict[str, numpy.ndarray]:
    """A file of bf16 tensors, as f32."""
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    tensors = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            assert entry["dtype"] == "BF16"
            begin, end = entry["data_offsets"]
            bits = numpy.frombuffer(raw[8 + size + begin:8 + size + end], "<u2").astype("<u4") << 16
            tensors[name] = bits.view("<f4").reshape(entry["shape"])
    return tensors


def write_model(folder: pathlib.Path, tensors: dict[str, numpy.ndarray], config: dict):
    folder.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(TINY / file, folder)
    (folder / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.astype("<f4").tobytes())


def widen(tensors: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """The same function with everything but vocabulary and head length twice: each number stands
    twice in every activation, and each input counts half."""
    wide = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and "embed_tokens" not in name:
            tensor = numpy.concatenate([tensor, tensor], axis=1) / 2
        elif tensor.ndim == 2:
            tensor = numpy.concatenate([tensor, tensor], axis=1)
        if "lm_head" not in name and "embed_tokens" not in name:
            tensor = numpy.concatenate([tensor, tensor], axis=0)
        wide[name] = tensor
    return wide


def make_models(folder: pathlib.Path) -> dict[str, dict[str, numpy.ndarray]]:
    """Writes both models; their tensors."""
    config = json.loads((TINY / "config.json").read_text())
    for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"):
        config[key] *= 2
    wide = widen(read_safetensors(TINY / "model.safetensors"))
    random = numpy.random.default_rng(1)
    normal = {name: random.normal(0, 0.02, tensor.shape).astype("f4") for name, tensor in wide.items()}
    models = {"tiny-r1": wide, "normal": normal}
    for name, tensors in models.items():
        write_model(folder / name, tensors, config)
    return models


class Ggml:
    """Parts of ggml's C interface: ggml.h and gguf.h."""

    class Traits(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("block_elements", ctypes.c_int64),
                    ("block_elements_interleaved", ctypes.c_int64), ("block_bytes", ctypes.c_size_t),
                    ("is_quantized", ctypes.c_bool),
                    ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64))]

    class InitParameters(ctypes.Structure):
        _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p)]

    def __init__(self):
        self.library = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
        signatures = {
            "ggml_get_type_traits": (ctypes.POINTER(self.Traits), ctypes.c_int),
            "ggml_quantize_chunk": (ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                    ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
            "gguf_init_from_file": (ctypes.c_void_p, ctypes.c_char_p, self.InitParameters),
            "gguf_free": (None, ctypes.c_void_p),
            "gguf_get_data_offset": (ctypes.c_size_t, ctypes.c_void_p),
            "gguf_find_tensor": (ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p),
            "gguf_get_tensor_offset": (ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64),
            "gguf_get_tensor_type": (ctypes.c_int, ctypes.c_void_p, ctypes.c_int64),
        }
        for name, (result, *arguments) in signatures.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments

    def dequantize(self, kind: int, raw: bytes, shape: tuple) -> numpy.ndarray:
        values = numpy.empty(shape, "f4")
        self.library.ggml_get_type_traits(kind).contents.to_float(raw, values.ctypes.data, values.size)
        return values

    def row_bytes(self, kind: int, columns: int) -> int:
        traits = self.library.ggml_get_type_traits(kind).contents
        return columns // traits.block_elements * traits.block_bytes

    def quantize(self, kind: int, values: numpy.ndarray) -> numpy.ndarray:
        """To the type and back, as llama.cpp does it without an importance matrix."""
        values = numpy.ascontiguousarray(values, "f4")
        rows, columns = values.shape
        raw = ctypes.create_string_buffer(rows * self.row_bytes(kind, columns))
        self.library.ggml_quantize_chunk(kind, values.ctypes.data, raw, 0, rows, columns, None)
        return self.dequantize(kind, raw.raw, values.shape)

    def read(self, path: pathlib.Path, kind: int, shapes: dict[str, tuple]) -> dict[str, numpy.ndarray]:
        file = self.library.gguf_init_from_file(str(path).encode(), self.InitParameters(True, None))
        assert file, f"ggml cannot read {path}"
        data, begin = path.read_bytes(), self.library.gguf_get_data_offset(file)
        values = {}
        for name, shape in shapes.items():
            index = self.library.gguf_find_tensor(file, gguf_name(name).encode())
            assert index >= 0 and self.library.gguf_get_tensor_type(file, index) == kind, name
            at = begin + self.library.gguf_get_tensor_offset(file, index)
            values[name] = self.dequantize(kind, data[at:at + shape[0] * self.row_bytes(kind, shape[1])], shape)
        self.library.gguf_free(file)
        return values


def gguf_name(name: str) -> str:
    parts = {"model.embed_tokens": "token_embd", "lm_head": "output", "self_attn.o_proj": "attn_output",
             "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    name = name.replace("model.layers", "blk")
    for theirs, short in parts.items():
        name = name.replace(theirs, short)
    return name


def holdfast(options, *arguments) -> str:
    run = subprocess.run([options.build / "holdfast", *map(str, arguments)], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"bench: holdfast {' '.join(map(str, arguments))}\n{run.stderr}")
    return run.stdout


def mean_square_error(found: dict, wanted: dict) -> float:
    total = sum(float(numpy.square(found[name].astype("f8") - wanted[name]).sum()) for name in found)
    return total / sum(wanted[name].size for name in found)


def compare_errors(options, folder: pathlib.Path, models: dict):
    ggml = Ggml()
    print("| weights | type | mean square error: llama.cpp | holdfast | ratio |\n|---|---|---|---|---|")
    for model, tensors in models.items():
        wanted = {name: tensor for name, tensor in tensors.items() if tensor.ndim == 2}
        for name, kind in TYPES.items():
            path = folder / f"{model}-{name}.gguf"
            holdfast(options, "quantize", folder / model, path, "--type", name, "--head", name)
            ours = ggml.read(path, kind, {name: tensor.shape for name, tensor in wanted.items()})
            theirs = {name: ggml.quantize(kind, tensor) for name, tensor in wanted.items()}
            errors = [mean_square_error(found, wanted) for found in (theirs, ours)]
            print(f"| {model} | {name} | {errors[0]:.4g} | {errors[1]:.4g} | {errors[1] / errors[0]:.3f} |", flush=True)


def evaluate(options, folder: pathlib.Path):
    print("\n| weights | perplexity ratio | mean KL divergence | same top token | problems solved |\n|---|---|---|---|---|")
    for name in TYPES:
        report = json.loads(holdfast(options, "eval", folder / "tiny-r1", "--against", folder / f"tiny-r1-{name}.gguf",
                                     "--problems", TINY / "held_out.jsonl", "-o", "json"))
        found = report["models"][1]
        print(f"| {name} | {found['perplexity_ratio']:.4f} | {found['divergence_mean']:.0e} "
              f"| {100 * found['same_top_share']:.2f} % | {found['right']} of {found['problems']} |", flush=True)


def post(url: str, body: dict) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return response.read().decode()


def ask_holdfast(url: str, model: str, prompt: list[int]) -> list[int]:
    """The tokens of a greedy answer."""
    stream = post(url + "/v1/completions", {"model": model, "prompt": prompt, "temperature": 0, "stream": True,
                                            "max_tokens": ANSWER_TOKENS, "holdfast": {"ids": True}})
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    return [token for chunk in chunks for token in chunk.get("holdfast", {}).get("ids", [])]


def ask_llama(model: "llama_cpp.Llama", prompt: list[int]) -> list[int]:
    tokens = []
    for token in model.generate(prompt, temp=0.0):
        tokens.append(token)
        if token == model.token_eos() or len(tokens) == ANSWER_TOKENS:
            return tokens


def count_same_answers(options, path: pathlib.Path, questions: list[str]) -> int:
    """How many greedy answers have the same tokens here and in llama.cpp."""
    theirs = llama_cpp.Llama(str(path), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False)
    command = [options.build / "holdfast", "worker", "--model", path, "--listen", "127.0.0.1:0", "--isolated"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as worker:
        try:
            url = "http://" + next(found[1] for line in worker.stderr if (found := re.search(r"listens on (\S+)", line)))
            next(line for line in worker.stderr if "ready:" in line)
            same = 0
            for question in questions:
                messages = [{"role": "user", "content": question}]
                prompt = json.loads(post(url + "/tokenize", {"messages": messages}))["tokens"]
                same += ask_llama(theirs, prompt) == ask_holdfast(url, path.stem, prompt)
            return same
        finally:
            worker.terminate()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="folder of the programs")
    parser.add_argument("--answers", type=int, default=50, help="questions to ask llama.cpp and holdfast [50]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = pathlib.Path(name)
        compare_errors(options, folder, make_models(folder))
        evaluate(options, folder)
        lines = (TINY / "held_out.jsonl").read_text().splitlines()[:options.answers]
        questions = [json.loads(line)["messages"][0]["content"] for line in lines]
        print("\n| weights | greedy answers with the same tokens in llama.cpp |\n|---|---|")
        for kind in TYPES:
            same = count_same_answers(options, folder / f"tiny-r1-{kind}.gguf", questions)
            print(f"| {kind} | {same} of {len(questions)} |", flush=True)


if __name__ == "__main__":
    main()
