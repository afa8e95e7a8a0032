#!/usr/bin/python3
"""How fast a worker starts: from exec to ready and to the first token, beside what memory allows.

Makes a model of a known shape with random weights and the bundled model's tokenizer, puts its file
into the page cache, and starts workers on it in turn with the two things that loading cannot go
below: reading the file from the page cache once, and having the kernel clear as much fresh memory.
"""

import argparse
import contextlib
import http.client
import json
import mmap
import os
import pathlib
import platform
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
START_SECONDS_MAX = 600
POLL_SECONDS = 0.002
MADV_POPULATE_WRITE = 23  # linux/mman.h, since Linux 5.14

# Layers, hidden, heads, key/value heads, FFN and vocabulary of the Qwen distills; head size 128.
SHAPES = {
    "small": (4, 512, 4, 2, 1536, 4096),
    "r1-1.5b": (28, 1536, 12, 2, 8960, 151936),
    "r1-7b": (28, 3584, 28, 4, 18944, 152064),
}
HEAD_SIZE = 128


def tensors(shape: tuple) -> dict[str, tuple]:
    layers, hidden, heads, kv_heads, ffn, vocab = shape
    queries, keys = heads * HEAD_SIZE, kv_heads * HEAD_SIZE
    found = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,),
             "lm_head.weight": (vocab, hidden)}
    for i in range(layers):
        layer = f"model.layers.{i}."
        for part, rows in (("q", queries), ("k", keys), ("v", keys)):
            found[f"{layer}self_attn.{part}_proj.weight"] = (rows, hidden)
            found[f"{layer}self_attn.{part}_proj.bias"] = (rows,)
        found |= {layer + "self_attn.o_proj.weight": (hidden, queries),
                  layer + "input_layernorm.weight": (hidden,),
                  layer + "post_attention_layernorm.weight": (hidden,),
                  layer + "mlp.gate_proj.weight": (ffn, hidden), layer + "mlp.up_proj.weight": (ffn, hidden),
                  layer + "mlp.down_proj.weight": (hidden, ffn)}
    return found


def random_bf16(count: int) -> bytes:
    """Numbers of either sign from 2^-7 to 2^-5."""
    made = bytearray(2 * count)
    made[0::2] = random.randbytes(count)
    made[1::2] = random.randbytes(count).translate(bytes(0x3C if i < 128 else 0xBC for i in range(256)))
    return bytes(made)


def write_model(folder: pathlib.Path, shape: tuple):
    """A folder in the Hugging Face layout, in bf16."""
    layers, hidden, heads, kv_heads, ffn, vocab = shape
    tiny = ROOT / "models/tiny-r1"
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(tiny / name, folder / name)
    config = json.loads((tiny / "config.json").read_text())
    config |= {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
               "num_key_value_heads": kv_heads, "head_dim": HEAD_SIZE, "intermediate_size": ffn, "vocab_size": vocab}
    (folder / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, sizes in tensors(shape).items():
        begin, end = end, end + 2 * sizes[0] * (sizes[1] if len(sizes) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": sizes, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    run = random_bf16(1 << 22)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        while end > 0:  # pieces of one run, from other places each time: no row is like another
            begin = random.randrange(len(run) // 4) * 2
            end -= file.write(memoryview(run)[begin : min(len(run), begin + end)])


def make_model(folder: pathlib.Path, options) -> pathlib.Path:
    name = f"{options.shape}-{options.weights}"
    model = folder / (name if options.weights == "bf16" else name + ".gguf")
    if model.exists():
        return model
    made = pathlib.Path(tempfile.mkdtemp(dir=folder))
    try:
        write_model(made, SHAPES[options.shape])
        if options.weights == "bf16":
            made.rename(model)
        else:
            quantize = [options.program, "quantize", made, model, "--type", options.weights]
            if subprocess.run(quantize, stdout=subprocess.DEVNULL).returncode != 0:
                sys.exit("bench: the model cannot be written as " + options.weights)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return model


def read_seconds(path: pathlib.Path) -> float:
    piece = bytearray(8 << 20)
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass
    return time.perf_counter() - began


def clear_seconds(size: int, huge: bool) -> float:
    began = time.perf_counter()
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        memory.madvise(MADV_POPULATE_WRITE)
        seconds = time.perf_counter() - began
    return seconds


def wait_address(notify: socket.socket) -> str:
    while True:
        for line in notify.recv(4096).decode().splitlines():
            if line.startswith("X_HOLDFAST_LISTEN="):
                return line.split("=", 1)[1]


def wait_ready(address: str, process: subprocess.Popen):
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until and process.poll() is None:
        with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(POLL_SECONDS)
    sys.exit("bench: the worker does not become ready")


def wait_first_token(address: str):
    body = json.dumps({"model": "bench", "prompt": "Hello", "max_tokens": 1, "stream": True, "ignore_eos": True})
    with contextlib.closing(http.client.HTTPConnection(address, timeout=START_SECONDS_MAX)) as connection:
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        line = answer.readline()
        if answer.status != 200 or not line.startswith(b"data:"):
            sys.exit(f"bench: no token: {answer.status} {line.decode(errors='replace').strip()}")


def start_seconds(model: pathlib.Path, options) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="holdfast-ready-") as folder, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(folder + "/notify")
        notify.settimeout(START_SECONDS_MAX)
        command = [options.program, "worker", "--isolated", "--model", f"{model}=bench", "--listen", "127.0.0.1:0",
                   "--threads", str(options.threads), "--set", f"engine.kv_tokens={options.kv_tokens}"]
        with open(folder + "/log", "w+b") as log:
            began = time.perf_counter()
            process = subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": folder + "/notify"},
                                       stdout=log, stderr=log)
            try:
                address = wait_address(notify)
                wait_ready(address, process)
                ready = time.perf_counter() - began
                wait_first_token(address)
                return ready, time.perf_counter() - began
            except (OSError, SystemExit) as error:
                log.seek(0)
                sys.exit(f"{error}\n{log.read().decode(errors='replace')}")
            finally:
                process.kill()
                process.wait()


def measure(model: pathlib.Path, options) -> dict:
    file = model if model.is_file() else model / "model.safetensors"
    size = file.stat().st_size
    read_seconds(file)  # into the page cache
    samples = {"ready": [], "first_token": [], "read": [], "clear_small": [], "clear_huge": []}
    for _ in range(options.rounds):
        samples["read"].append(read_seconds(file))
        samples["clear_small"].append(clear_seconds(size, huge=False))
        samples["clear_huge"].append(clear_seconds(size, huge=True))
        ready, first = start_seconds(model, options)
        samples["ready"].append(ready)
        samples["first_token"].append(first)
    return {"model": model.name, "bytes": size, "threads": options.threads, "rounds": options.rounds,
            "load_average": os.getloadavg()[0], "kernel": platform.release(),
            "seconds": {name: round(statistics.median(of), 4) for name, of in samples.items()}}


def print_table(result: dict):
    gib = result["bytes"] / 2**30
    print(f"{result['model']}: {gib:.2f} GiB, {result['threads']} threads, medians of {result['rounds']}, "
          f"load average {result['load_average']:.1f}")
    names = {"ready": "exec to /readyz 200", "first_token": "exec to the first token",
             "read": "reading the file, 1 thread", "clear_small": "clearing small pages, 1 thread",
             "clear_huge": "clearing huge pages, 1 thread"}
    for key, name in names.items():
        seconds = result["seconds"][key]
        print(f"{name:<32} {seconds:8.3f} s {seconds / gib:8.3f} s/GiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="r1-1.5b", help="of the random model [r1-1.5b]")
    parser.add_argument("--weights", default="bf16", help="bf16, or a type of `holdfast quantize` [bf16]")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the worker [all]")
    parser.add_argument("--kv-tokens", type=int, default=4096, help="of its cache [4096]")
    parser.add_argument("--rounds", type=int, default=5, help="of everything, in turn [5]")
    parser.add_argument("--folder", type=pathlib.Path, help="where models are made and kept [a temporary one]")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/holdfast")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    with contextlib.ExitStack() as stack:
        folder = options.folder or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(make_model(folder, options), options)
    if options.output == "json":
        print(json.dumps(result, indent=2))
    else:
        print_table(result)


if __name__ == "__main__":
    main()
