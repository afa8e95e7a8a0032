"""Models from a hub: whole, interrupted, against a failing or hostile hub, and into service."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import threading

import pytest

import hub as fake
import service

REPO = "acme/Tiny-R1"
MIB = 1 << 20
# 20 MiB and a bit: several blocks and runs, and a last block that is not full.
WEIGHTS = random.Random(7).randbytes(20 * MIB + 12_345)
FOLDER = {
    "config.json": b"{}", "tokenizer.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "README.md": b"read",
    "pytorch_model.bin": b"x" * 10, "onnx/model.onnx": b"x" * 10,
}


@pytest.fixture
def hub():
    with running(dict(FOLDER)) as target:
        yield target


@contextlib.contextmanager
def running(files: dict[str, bytes]):
    target = fake.Hub(REPO, files)
    try:
        yield target
    finally:
        target.stop()


class Puller:
    """Runs `holdfast` with a cache of its own against one hub."""

    def __init__(self, folder: pathlib.Path, endpoint: str):
        self.cache = folder / "cache"
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "HOLDFAST_CACHE": str(self.cache),
            "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1", "HF_HUB_DOWNLOAD_TIMEOUT": "60",
        }

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        return subprocess.Popen([str(service.BINARY), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env={**self.environment, **variables})

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments, **variables)
        output, error = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, output, error)

    def pull(self, *arguments: str, **variables: str) -> pathlib.Path:
        """A pull that succeeds; where it put the model."""
        done = self.run("pull", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return pathlib.Path(done.stdout.splitlines()[0])

    def refuse(self, *arguments: str, **variables: str) -> str:
        """A pull that fails as it should; what it said."""
        done = self.run("pull", *arguments, **variables)
        assert done.returncode == 1, done.stderr
        return done.stderr

    def models(self) -> list[dict]:
        return json.loads(self.run("models", "-o", "json").stdout)


@pytest.fixture
def puller(tmp_path, hub):
    return Puller(tmp_path, hub.url)


def test_a_pull_gets_what_serving_needs_and_nothing_else(puller, hub):
    done = puller.run("pull", REPO)
    assert done.returncode == 0, done.stderr
    path, line = done.stdout.splitlines()
    folder = pathlib.Path(path)
    assert line == f"next: holdfast serve --model {REPO}"
    assert {p.name for p in folder.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors", ".holdfast.json"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent() == len(WEIGHTS)
    assert len(hub.asked()) > 1, "large files come in several ranges"
    assert not (folder.parent / ".partial").exists()

    before = len(hub.log)
    again = puller.run("pull", REPO)
    assert again.returncode == 0 and "were there already" in again.stderr
    assert hub.sent(before) == 0


def test_a_killed_pull_goes_on_where_it_was(puller, hub):
    hub.faults.hold_after = 2 * MIB + 70_000
    process = puller.start("pull", REPO, "--jobs", "2")
    service.wait_until(lambda: sum(e["sent"] > 2 * MIB for e in hub.log if e["server"] == "cdn") == 2, "both hold")
    partial = next(puller.cache.rglob("*.blocks"))
    service.wait_until(lambda: partial.stat().st_size == 4 * 24, "four blocks are entered")
    process.kill()
    process.communicate(timeout=60)
    hub.faults.release.set()
    assert puller.models()[0]["state"] == "partial"

    before = len(hub.log)
    folder = puller.pull(REPO)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent(before) == len(WEIGHTS) - 4 * MIB, "blocks that were there are not asked for again"
    assert puller.models()[0]["state"] == "complete"


def test_what_a_crash_has_damaged_is_downloaded_again(puller, hub):
    hub.faults.hold_after = 2 * MIB + 70_000
    process = puller.start("pull", REPO, "--jobs", "1")
    blocks = service.wait_until(lambda: next(puller.cache.rglob("*.blocks"), None), "it has begun")
    service.wait_until(lambda: any(b.stat().st_size == 2 * 24 for b in puller.cache.rglob("*.blocks")), "two blocks")
    process.kill()
    process.communicate(timeout=60)
    hub.faults.release.set()
    blocks = next(b for b in puller.cache.rglob("*.blocks") if b.stat().st_size == 2 * 24)
    with open(blocks.with_suffix(".data"), "r+b") as data:
        data.write(b"\0" * 4096)
    with open(blocks, "ab") as journal:
        journal.write(b"torn")

    before = len(hub.log)
    assert (puller.pull(REPO) / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent(before) == len(WEIGHTS) - MIB, "of two blocks one was sound"


def test_ctrl_c_keeps_what_has_come(puller, hub):
    hub.faults.hold_after = 2 * MIB + 70_000
    process = puller.start("pull", REPO, "--jobs", "1")
    service.wait_until(lambda: any(b.stat().st_size == 2 * 24 for b in puller.cache.rglob("*.blocks")), "two blocks")
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted" in error and "the same command goes on from there" in error
    hub.faults.release.set()
    before = len(hub.log)
    puller.pull(REPO)
    assert hub.sent(before) == len(WEIGHTS) - 2 * MIB


def test_two_pulls_at_once_download_once(puller, hub):
    hub.faults.hold_after = MIB
    first = puller.start("pull", REPO)
    service.wait_until(lambda: hub.sent() >= MIB // 2, "the first has begun")
    second = puller.start("pull", REPO)
    lines = []
    for line in second.stderr:
        lines.append(line)
        if "waiting for it" in line:
            break
    assert "another pull of acme/Tiny-R1 is running" in lines[-1]
    refused = puller.run("models", "remove", REPO)
    assert refused.returncode == 1 and "is being pulled right now" in refused.stderr
    hub.faults.release.set()
    paths = [p.communicate(timeout=120)[0].splitlines()[0] for p in (first, second)]
    assert first.returncode == second.returncode == 0
    assert paths[0] == paths[1]
    assert hub.sent() == len(WEIGHTS)


@pytest.mark.parametrize("fault", ["503", "429", "reset", "no ranges"])
def test_passing_trouble_is_overcome(puller, hub, fault):
    if fault == "503":
        hub.faults.statuses = [(503, {}), (502, {})]
    elif fault == "429":
        hub.faults.statuses = [(429, {"Retry-After": "1"})]
    elif fault == "reset":
        hub.faults.reset_after = [MIB + 500_000, 100_000]
    else:
        hub.faults.no_ranges = True
    done = puller.run("pull", REPO, "--jobs", "3")
    assert done.returncode == 0, done.stderr
    folder = pathlib.Path(done.stdout.splitlines()[0])
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert {"503": "HTTP 503", "429": "asked too often", "reset": "broke", "no ranges": "ignores ranges"}[fault] in done.stderr


def test_a_stalled_transfer_is_started_again(puller, hub):
    hub.faults.hold_after = MIB
    process = puller.start("pull", REPO, "--jobs", "1", HF_HUB_DOWNLOAD_TIMEOUT="1")
    for line in process.stderr:
        if "came to a standstill" in line:
            hub.faults.hold_after = None
            break
    assert process.communicate(timeout=120) and process.returncode == 0


def test_a_wrong_checksum_is_refused_and_the_file_not_kept(puller, hub):
    hub.faults.corrupt = {"model.safetensors"}
    said = puller.refuse(REPO)
    assert "model.safetensors has the wrong sha256 checksum" in said
    assert not list(puller.cache.rglob("sha256-*")) and not list(puller.cache.rglob("model.safetensors"))
    hub.faults.corrupt = set()
    assert (puller.pull(REPO) / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/evil.safetensors", "a/../../evil.safetensors",
                                  "a\\..\\evil.safetensors", "e\nvil.safetensors", ".holdfast.json", ""])
def test_a_hostile_name_is_refused_before_anything_is_written(puller, hub, name):
    hub.faults.extra_entries = [fake.entry_of(name, b"evil")]
    assert "whose name" in puller.refuse(REPO)
    assert not list(puller.cache.rglob("*.safetensors"))


def test_sizes_that_cannot_be_are_refused(puller, hub):
    hub.faults.extra_entries = [{**fake.entry_of("huge.safetensors", b""), "size": 2**63}]
    assert "no believable size" in puller.refuse(REPO)
    hub.faults.extra_entries = [{**fake.entry_of("huge.safetensors", b""), "size": 2**41}]
    assert "has room for" in puller.refuse(REPO)
    hub.faults.extra_entries = []
    hub.faults.lying_size = 5
    assert f"offers {len(WEIGHTS) + 5} bytes of model.safetensors" in puller.refuse(REPO)


def test_what_does_not_exist_is_named_with_what_does(puller, hub):
    hub.files["Tiny-Q4_K_M.gguf"] = b"gguf" * 100
    assert "has no acme/Nothing" in puller.refuse("acme/Nothing")
    assert 'has no revision "v9"' in puller.refuse(f"{REPO}@v9")
    assert 'did you mean "config.json"?' in puller.refuse(f"{REPO}:confg.json")
    assert "Tiny-Q4_K_M.gguf" in puller.refuse(f"{REPO}:Q8_0")
    assert "none of the" in puller.refuse(REPO, "--include", "*.tar")
    assert puller.run("pull", "Tiny-R1").returncode == 2


def test_a_hub_out_of_reach_is_said_at_once(puller):
    port = service.free_port()
    assert "no connection" in puller.refuse(REPO, HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert "has no address" in puller.refuse(REPO, HF_ENDPOINT="http://hub.invalid")


def test_a_login_page_is_not_taken_for_a_model(puller, hub):
    hub.faults.web_page = True
    assert "a web page where a list of files was due" in puller.refuse(REPO)
    hub.faults.web_page = False
    hub.faults.loop = True
    assert "redirects for acme/Tiny-R1 lead nowhere" in puller.refuse(REPO)


def test_a_hub_without_encryption_where_it_was_due(puller, hub):
    assert "no trusted connection" in puller.refuse(REPO, HF_ENDPOINT=hub.url.replace("http:", "https:"))


def test_a_gated_model_says_how_to_get_it_and_the_token_stays_with_the_hub(puller, hub, tmp_path):
    hub.faults.token = "hf_secret"
    without = puller.refuse(REPO)
    assert "is gated" in without and f"{hub.url}/{REPO}" in without and "HF_TOKEN" in without
    wrong = puller.refuse(REPO, HF_TOKEN="hf_wrong")
    assert "refuses" in wrong and "hf_wrong" not in wrong
    token_file = tmp_path / ".cache" / "huggingface" / "token"
    token_file.parent.mkdir(parents=True)
    token_file.write_text("hf_secret\n")
    done = puller.run("pull", REPO)
    assert done.returncode == 0 and "hf_secret" not in done.stderr + done.stdout
    assert all(e["token"] is None for e in hub.log if e["server"] == "cdn")
    assert hub.sent() == len(WEIGHTS)


def test_a_folder_that_may_not_be_written_is_named(puller, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert f"cannot make the folder {blocked}" in puller.refuse(REPO, HOLDFAST_CACHE=str(blocked))
    if os.geteuid() != 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        assert "Permission denied" in puller.refuse(REPO, HOLDFAST_CACHE=str(closed / "cache"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_in_the_middle_loses_nothing(puller, hub, small_disk):
    filler = small_disk / "filler"
    hub.faults.hold_after = 3 * MIB
    place = {"HOLDFAST_CACHE": str(small_disk / "cache")}
    process = puller.start("pull", REPO, "--jobs", "1", **place)
    service.wait_until(lambda: hub.sent() >= 2 * MIB, "it has begun")
    filler.write_bytes(b"\0" * 12 * MIB)
    hub.faults.release.set()
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "No space left" in error and "are kept in" in error and "goes on from there" in error
    assert "make room" in puller.refuse(REPO, **place)
    filler.unlink()
    before = len(hub.log)
    folder = puller.pull(REPO, **place)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent(before) < len(WEIGHTS) - 8 * MIB


def test_a_limit_on_the_size_of_files_is_met_like_a_full_disk(puller):
    limited = ["prlimit", f"--fsize={5 * MIB}", str(service.BINARY), "pull", REPO]
    done = subprocess.run(limited, env=puller.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr and "are kept in" in done.stderr
    puller.pull(REPO)


def test_a_new_commit_downloads_only_what_changed(puller, hub):
    first = puller.pull(REPO)
    hub.files["tokenizer.json"] = b'{"a": 2}'
    before = len(hub.log)
    second = puller.pull(REPO)
    assert first != second and hub.sent(before) == 0
    assert (second / "tokenizer.json").read_bytes() == b'{"a": 2}'
    assert (first / "model.safetensors").samefile(second / "model.safetensors")
    assert puller.run("models", "path", REPO).stdout.strip() == str(second)


def test_one_gguf_file_comes_with_all_its_parts(puller, hub):
    for part in (1, 2):
        hub.files[f"Tiny-Q8_0-{part:05}-of-00002.gguf"] = b"part%d" % part
    hub.files["Tiny-Q4_K_M.gguf"] = b"small"
    path = puller.pull(f"{REPO}:q8_0")
    assert path.name == "Tiny-Q8_0-00001-of-00002.gguf"
    assert {p.name for p in path.parent.iterdir()} == {
        ".holdfast.json", "Tiny-Q8_0-00001-of-00002.gguf", "Tiny-Q8_0-00002-of-00002.gguf"}
    del hub.files["Tiny-Q8_0-00002-of-00002.gguf"]
    assert "has 2 parts, and only 1" in puller.refuse(f"{REPO}:Q8_0")


def test_a_folder_of_ones_own_is_made_whole_and_never_overwritten(puller, hub, tmp_path):
    target = tmp_path / "mine"
    assert puller.pull(REPO, "--to", str(target)) == target
    assert (target / "model.safetensors").read_bytes() == WEIGHTS
    assert [p.name for p in tmp_path.iterdir()].count("mine.partial") == 0
    assert puller.pull(REPO, "--to", str(target)) == target
    assert hub.sent() == len(WEIGHTS)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("precious")
    assert "has something else in it" in puller.refuse(REPO, "--to", str(other))
    assert [p.name for p in other.iterdir()] == ["file"]


def test_a_mount_point_cannot_become_a_model(puller, hub, small_disk):
    said = puller.refuse(REPO, "--to", str(small_disk))
    assert f"{small_disk} is a mount point" in said and f"--to {small_disk}/Tiny-R1" in said
    assert hub.sent() == 0 and list(small_disk.iterdir()) == []
    assert not small_disk.with_name("disk.partial").exists()
    hub.files["model.safetensors"] = WEIGHTS[:4 * MIB]
    assert puller.pull(REPO, "--to", f"{small_disk}/Tiny-R1") == small_disk / "Tiny-R1"


def test_without_checksums_the_size_is_checked_and_nothing_is_taken_up_again(puller, hub):
    hub.faults.no_checksums = True
    hub.faults.lying_size = 5
    assert "model.safetensors" in puller.refuse(REPO)
    hub.faults.lying_size = 0
    hub.faults.hold_after = 2 * MIB + 70_000
    before = len(hub.log)
    process = puller.start("pull", REPO, "--jobs", "1")
    service.wait_until(lambda: hub.sent(before) > 2 * MIB, "two blocks have come")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    hub.faults.release.set()
    before = len(hub.log)
    done = puller.run("pull", REPO)
    assert done.returncode == 0, done.stderr
    assert "warning: the hub gives no checksum for 3 of 3 files" in done.stderr
    assert hub.sent(before) == len(WEIGHTS), "nobody could say whether the old part is of the same file"
    folder = pathlib.Path(done.stdout.splitlines()[0])
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_modelscope_is_understood(puller, hub):
    folder = puller.pull(REPO, "--hub", "modelscope")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == b"{}"
    assert "no such revision" in puller.refuse(f"{REPO}@v9", "--hub", "modelscope")


def test_models_lists_and_removes(puller, hub):
    assert "no models" in puller.run("models").stdout
    folder = puller.pull(REPO)
    (model,) = puller.models()
    assert model["repo"] == REPO and model["state"] == "complete" and model["path"] == str(folder)
    assert model["commit"] == hub.commit and model["bytes"] >= len(WEIGHTS)
    assert f"{REPO}" in puller.run("models", "list").stdout
    (folder / "model.safetensors").unlink()
    assert puller.models()[0]["state"] == "damaged"
    assert puller.run("models", "path", REPO).returncode == 1
    assert puller.pull(REPO) == folder and puller.models()[0]["state"] == "complete"
    removed = puller.run("models", "remove", REPO)
    assert removed.returncode == 0 and f"{REPO} removed, 20.0 MiB freed" in removed.stdout
    assert puller.models() == [] and list((puller.cache / "models").iterdir()) == []
    assert puller.run("models", "remove", REPO).returncode == 1


def test_a_pulled_model_is_served_by_its_name(tmp_path):
    with running(fake.files_of(service.MODEL)) as hub:
        puller = Puller(tmp_path, hub.url)
        missing = puller.run("serve", "--model", REPO, "--state-dir", str(tmp_path / "state"))
        assert missing.returncode == 1 and f"holdfast pull {REPO}" in missing.stderr
        puller.pull(REPO)
    assert REPO in puller.run("models", "list").stdout
    planned = puller.run("plan", REPO, "--device", "RTX 4090")
    assert planned.returncode == 0 and "Tiny-R1" in planned.stdout
    scored = puller.run("eval", REPO, "--text", str(service.MODEL / "README.md"), "--limit", "1")
    assert scored.returncode == 0, scored.stderr
    unknown = puller.run("perf", "acme/Other")
    assert unknown.returncode == 1 and "holdfast pull acme/Other" in unknown.stderr
    port = service.free_port()
    worker = puller.start("worker", "--model", REPO, "--listen", f"127.0.0.1:{port}")
    drain = threading.Thread(target=worker.stderr.read)
    drain.start()
    try:
        service.wait_until(lambda: ready(port), "the worker is ready")
        status, _, body = service.post(f"http://127.0.0.1:{port}/v1/chat/completions", {
            "model": "Tiny-R1", "messages": [{"role": "user", "content": "3+4="}], "max_tokens": 8, "seed": 1})
        assert status == 200, body
        assert json.loads(body)["usage"]["completion_tokens"] > 0
    finally:
        worker.terminate()
        assert worker.wait(60) == 0
        drain.join()


def ready(port: int) -> bool:
    try:
        return service.get(f"http://127.0.0.1:{port}/readyz")[0] == 200
    except OSError:
        return False
