"""Every number that can be set, at both ends of its range: what is started with it answers or says why it
does not, and stops when it is told to."""

import contextlib
import json
import pathlib
import re
import resource

import pytest

import service

QUESTION = {"model": "tiny-r1", "messages": [{"role": "user", "content": "1+1?"}], "max_tokens": 4, "seed": 1}
# Refusals that a client can act upon.
REFUSALS = {400, 429, 503, 504}

# Settings that a worker obeys, and those that mean something to a gateway alone; the rest is the keeper's.
WORKER = ("engine.", "worker.threads", "worker.tokens_per_second")
GATEWAY = ("gateway.", "timeouts.", "retry.", "health.")
# What else must be set so that the value is allowed.
TOGETHER = {
    ("engine.batch_tokens_max", "least"): {"engine.prefill_tokens_max": "1"},
    ("engine.prefill_tokens_max", "most"): {"engine.batch_tokens_max": "65536"},
    ("timeouts.total", "least"): {"timeouts.connect": "1ms"},
    ("keeper.backoff_first", "most"): {"keeper.backoff_max": "1h"},
    ("keeper.backoff_max", "least"): {"keeper.backoff_first": "1ms"},
    ("worker.instances", "most"): {"engine.kv_tokens": "256", "engine.batch_tokens_max": "256",
                                   "worker.threads": "1"},
}


def numeric_settings() -> dict[str, dict[str, str]]:
    """Name to least and most of every setting with a range, as the program itself lists them."""
    listing = service.command("config", "reference").stdout
    rows = re.findall(r"^\| `([a-z_.]+)` \| [^|]* \| [^|]* \| (\S+) to (\S+) \|", listing, re.M)
    return {name: {"least": least, "most": most} for name, least, most in rows}


def cases(*prefixes: str, others: bool = False) -> list:
    """A parameter for each setting with one of these prefixes (or none of them) and each end."""
    return [
        pytest.param({name: limits[end]} | TOGETHER.get((name, end), {}), id=f"{name}-{end}")
        for name, limits in numeric_settings().items()
        for end in ("least", "most")
        if name.startswith(prefixes) != others
    ]


def flags(settings: dict[str, str]) -> list[str]:
    return [f"--set={name}={value}" for name, value in settings.items()]


@contextlib.contextmanager
def started(command: list, folder: pathlib.Path):
    """A process on a port of its own; what it is asked, it must survive, and it must stop when told to."""
    port = service.free_port()
    process = service.Process([*command, f"--listen=127.0.0.1:{port}"], f"http://127.0.0.1:{port}", folder / "log")
    try:
        yield process
        assert process.stop() == 0, process.log.read_text()
    finally:
        process.process.kill()


def ask(process: service.Process) -> None:
    status, _, body = service.post(process.url + "/v1/chat/completions", QUESTION)
    answer = json.loads(body)
    if status == 200:
        assert answer["choices"][0]["finish_reason"], answer
    else:
        assert status in REFUSALS and answer["error"]["message"], (status, body)
    assert process.process.poll() is None, process.log.read_text()


def refused_by_memory(process: service.Process) -> bool:
    """True if it ended because there is too little memory for the value, and said so."""
    said = re.compile(r"needs \d+ MiB of memory|cannot reserve \d+ MiB")
    return process.process.poll() == 1 and said.search(process.log.read_text()) is not None


def limit_memory() -> None:
    """Lets no machine be large enough for the largest values: reserving them would take minutes."""
    resource.setrlimit(resource.RLIMIT_AS, (32 << 30, 32 << 30))


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """A worker for gateways to stand in front of."""
    with started(["worker", f"--model={service.MODEL}"], tmp_path_factory.mktemp("worker")) as process:
        yield process.wait_ready()


def test_the_listing_has_every_kind_of_setting():
    names = numeric_settings()
    assert len(names) > 30
    for prefix in (*WORKER, *GATEWAY, "keeper.", "log.", "worker.instances"):
        assert any(name.startswith(prefix) for name in names), prefix


@pytest.mark.parametrize("settings", cases(*WORKER))
def test_a_worker_works_at_the_ends_of_each_range(tmp_path, settings):
    port = service.free_port()
    process = service.Process(
        ["worker", f"--model={service.MODEL}", f"--listen=127.0.0.1:{port}", *flags(settings)],
        f"http://127.0.0.1:{port}", tmp_path / "log", preexec_fn=limit_memory)
    try:
        service.wait_until(lambda: refused_by_memory(process) or process.answers("/readyz"), "ready or refused")
        if process.process.poll() is None:
            ask(process)
            assert process.stop() == 0, process.log.read_text()
    finally:
        process.process.kill()
        process.process.wait()


@pytest.mark.parametrize("settings", cases(*GATEWAY))
def test_a_gateway_works_at_the_ends_of_each_range(tmp_path, worker, settings):
    with started(["gateway", f"--instance={worker.url},kind=holdfast", *flags(settings)], tmp_path) as process:
        service.wait_until(lambda: process.answers("/livez"), "the gateway lives")
        ask(process)


@pytest.mark.parametrize("settings", cases(*WORKER, *GATEWAY, others=True))
def test_a_service_works_at_the_ends_of_each_range(tmp_path, settings):
    defaults = {"worker.instances": "1"} | settings
    command = ["serve", f"--state-dir={tmp_path}/state", f"--model={service.MODEL}", *flags(defaults)]
    with started(command, tmp_path) as process:
        process.wait_ready()
        ask(process)
