"""A damaged model folder is refused with file, field and reason; everything else goes on."""

import json
import pathlib
import shutil
import struct
import subprocess

import pytest

import service


def edit_json(path: pathlib.Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_header(path: pathlib.Path, change) -> None:
    """Rewrites the JSON header of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])


def cut(path: pathlib.Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def lie_about_the_header(path: pathlib.Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


NORM = "model.layers.1.input_layernorm.weight"
DAMAGES = {
    "truncated weights": ("model.safetensors", lambda p: cut(p, p.stat().st_size - 1000), ["model.safetensors"]),
    "empty weights": ("model.safetensors", lambda p: cut(p, 0), ["model.safetensors"]),
    "lying header": ("model.safetensors", lie_about_the_header, ["model.safetensors", "header"]),
    "missing tensor": ("model.safetensors", lambda p: edit_header(p, lambda h: h.update(other=h.pop(NORM))), [NORM]),
    "wrong shape": ("config.json", lambda p: edit_json(p, lambda c: c.update(intermediate_size=c["intermediate_size"] * 2)),
                    ["model.safetensors", "mlp"]),
    "zero heads": ("config.json", lambda p: edit_json(p, lambda c: c.update(num_attention_heads=0)),
                   ["config.json", "num_attention_heads"]),
    "other architecture": ("config.json", lambda p: edit_json(p, lambda c: c.update(model_type="gpt2", architectures=["GPT2"])),
                           ["config.json", "gpt2"]),
    "no config": ("config.json", lambda p: p.unlink(), ["config.json"]),
    "tokenizer out of range": ("tokenizer.json", lambda p: edit_json(p, lambda t: t["added_tokens"][0].update(id=10**6)),
                               ["tokenizer.json", "1000000"]),
    "broken tokenizer": ("tokenizer.json", lambda p: cut(p, 1000), ["tokenizer.json"]),
    "unknown template": ("tokenizer_config.json", lambda p: edit_json(p, lambda t: t.update(chat_template="{{ messages }}")),
                         ["chat_template"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_worker_names_file_field_and_reason(tmp_path, damage):
    folder = tmp_path / "model"
    shutil.copytree(service.MODEL, folder, ignore=shutil.ignore_patterns("recipe"))
    file, spoil, words = DAMAGES[damage]
    spoil(folder / file)
    done = subprocess.run([str(service.BINARY), "worker", "--model", str(folder), "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert all(word in done.stderr for word in words), done.stderr


def test_the_other_workers_go_on(tmp_path, start):
    folder = tmp_path / "model"
    shutil.copytree(service.MODEL, folder, ignore=shutil.ignore_patterns("recipe"))
    cut(folder / "model.safetensors", 5000)
    target = start("--model", f"{folder}=broken", instances=1).wait_ready()
    status, _, _ = service.post(target.url + "/v1/chat/completions",
                                {"model": "tiny-r1", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5})
    assert status == 200
    service.wait_until(lambda: "model.safetensors" in target.log.read_text(), "the reason is told")
    assert [i["state"] for i in target.instances() if i["model"] != "tiny-r1"] != ["ready"]


def change_value(path: pathlib.Path, key: str, data: bytes) -> None:
    """Overwrites the beginning of a scalar's value in a GGUF file's metadata."""
    content = path.read_bytes()
    at = content.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key) + 4
    path.write_bytes(content[:at] + data + content[at + len(data):])


def overwrite(path: pathlib.Path, at: int, data: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:at] + data + content[at + len(data):])


# What is done to the file, and what the reason must name beside the file.
GGUF_DAMAGES = {
    "cut in the tensors": (lambda p: cut(p, p.stat().st_size - 1000), ["tensor", "cut short"]),
    "cut in the metadata": (lambda p: cut(p, 2000), ["offset"]),
    "cut in the header": (lambda p: cut(p, 10), ["offset", "tensors"]),
    "empty": (lambda p: cut(p, 0), []),
    "no GGUF": (lambda p: overwrite(p, 0, b"HTML"), ["offset", "GGUF"]),
    "unknown version": (lambda p: overwrite(p, 4, struct.pack("<I", 99)), ["version 99"]),
    "endless tensors": (lambda p: overwrite(p, 8, struct.pack("<Q", 2**63)), ["offset", "tensors"]),
    "endless metadata": (lambda p: overwrite(p, 16, struct.pack("<Q", 2**64 - 1)), ["offset", "metadata"]),
    "a key without end": (lambda p: overwrite(p, 24, struct.pack("<Q", 2**62)), ["offset 32", "key"]),
    "no layers": (lambda p: change_value(p, "qwen2.block_count", struct.pack("<I", 0)), ["qwen2.block_count"]),
    "too many layers": (lambda p: change_value(p, "qwen2.block_count", struct.pack("<I", 99)), ["layers.4."]),
    "heads that do not divide": (lambda p: change_value(p, "qwen2.attention.head_count", struct.pack("<I", 7)),
                                 ["head_count"]),
    "other width": (lambda p: change_value(p, "qwen2.embedding_length", struct.pack("<I", 4096)), ["shape"]),
}


@pytest.mark.parametrize("damage", GGUF_DAMAGES)
def test_a_damaged_gguf_file_is_refused_with_place_and_reason(tmp_path, gguf, damage):
    file = tmp_path / "damaged.gguf"
    shutil.copy(gguf("q8_0"), file)
    spoil, words = GGUF_DAMAGES[damage]
    spoil(file)
    done = service.command("worker", "--model", file, "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert all(word in done.stderr for word in ["damaged.gguf", *words]), done.stderr


def test_status_tells_why_a_worker_is_down_and_the_other_model_goes_on(tmp_path, gguf, start):
    file = tmp_path / "damaged.gguf"
    shutil.copy(gguf("q8_0"), file)
    cut(file, file.stat().st_size - 1000)
    target = start(instances=1, models=(service.MODEL, file)).wait_ready()
    reason = "the process is not running: exited with code 1: "

    def shown():
        return [i["reason"] for i in target.instances() if i["model"] == "damaged" and i["reason"].startswith(reason)]

    (said,) = service.wait_until(shown, "the reason is in the status")
    assert str(file) in said and "cut short" in said
    for said in (target.log.read_text(), service.command("status", "--url", target.url, "-o", "json").stdout):
        assert str(file) in said and "cut short" in said
    status, _, _ = service.post(target.url + "/v1/chat/completions",
                                {"model": "tiny-r1", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5})
    assert status == 200
