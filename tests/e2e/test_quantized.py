"""Quantized weights, 8-bit keys and values and speculation: right answers, and the same promises."""

import asyncio
import json
import os
import signal

import aiohttp
import pytest

import load
import service

SUM = {"messages": [{"role": "user", "content": "What is 3478 + 5869?"}], "temperature": 0, "max_tokens": 600}
SMALL = ("--weights", "q8", "--set", "engine.kv_type=q8", "--set", "engine.speculation_tokens_max=4")


def content(target, body: dict) -> str:
    status, _, raw = service.post(target.url + "/v1/chat/completions", body)
    assert status == 200, raw
    return json.loads(raw)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("kv_type", ["bf16", "q8"])
def test_gguf_files_answer_right(start, gguf, kv_type):
    kinds = ["q8_0", "q4_0", "bf16"]
    target = start("--set", f"engine.kv_type={kv_type}", instances=1, models=tuple(gguf(k) for k in kinds))
    target.wait_all_ready()
    names = [m["id"] for m in json.loads(service.get(target.url + "/v1/models")[2])["data"]]
    assert sorted(names) == sorted(f"tiny-{kind}" for kind in kinds)
    for kind in kinds:
        assert "9347" in content(target, {**SUM, "model": f"tiny-{kind}"})
    prints = {i["model"]: i["fingerprint"] for i in target.instances()}
    assert len(set(prints.values())) == 3
    for kind in kinds:
        assert f"-{kind}-" in prints[f"tiny-{kind}"] + "-" and f"-kv-{kv_type}-" in prints[f"tiny-{kind}"]


def worker_metric(instance: dict, name: str) -> float:
    return service.metric(service.get(instance["url"] + "/metrics")[2].decode(), name)


async def ask_and_kill(target, body: dict, characters: int) -> load.Answer:
    """Asks, and kills the worker that answers once it has said so much."""
    killed = False
    answer = load.Answer()

    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(load.ask(session, target.url, body, answer))
        while not asking.done() and not killed:
            await asyncio.sleep(0.005)
            if len(answer.reasoning + answer.content) >= characters:
                (busy,) = [i for i in await asyncio.to_thread(target.instances) if i["outstanding"]]
                os.kill(busy["pid"], signal.SIGKILL)
                killed = True
        assert killed, "it ended too early"
        return await asking


def test_a_worker_killed_in_the_middle_is_not_noticed(start):
    # Slow enough to be struck in the middle; what repeats itself makes speculation work.
    target = start(*SMALL, "--set", "worker.tokens_per_second=100", "--set", "keeper.backoff_first=1ms").wait_all_ready()
    bodies = [{**SUM, "model": "tiny-r1", "stream": True, "stream_options": {"include_usage": True},
               "temperature": temperature, "seed": 7, "ignore_eos": True, "max_tokens": 120}
              for temperature in (0, 0.6)]
    expected = asyncio.run(load.ask_all(target.url, bodies, 2))
    assert [e.complaint() for e in expected] == [None, None]
    assert sum(worker_metric(i, "holdfast_speculation_accepted_tokens_total") for i in target.instances()) > 0
    for body, whole in zip(bodies, expected):
        characters = len(whole.reasoning + whole.content) // 2
        answer = asyncio.run(ask_and_kill(target, body, characters))
        assert answer.complaint() is None and answer.essence() == whole.essence()
        assert answer.resume == "exact"
        target.wait_all_ready()
    assert target.metric("holdfast_failovers_total", guarantee="exact") == 2


def test_a_long_prompt_ejects_nobody_while_others_stream(start):
    target = start(*SMALL, "--set", "engine.kv_tokens=40000").wait_all_ready()
    pids = {i["pid"] for i in target.instances()}
    _, _, raw = service.post(target.url + "/tokenize", {"prompt": "What is 12 + 34? "})
    repeats = 4800 // (json.loads(raw)["count"] - 1)  # joints are merged
    long_prompt = {"model": "tiny-r1", "messages": [{"role": "user", "content": "What is 12 + 34? " * repeats}],
                   "max_tokens": 20, "ignore_eos": True}
    bodies = [{**long_prompt, "seed": n} for n in range(2)] + load.questions(30, seed=5)
    answers = asyncio.run(load.ask_all(target.url, bodies, 32))
    assert [a.complaint() for a in answers if a.complaint()] == []
    assert answers[0].usage["prompt_tokens"] >= 4000
    assert {i["pid"] for i in target.instances()} == pids
    assert target.metric("holdfast_ejections_total") == 0


class Alone(service.Process):
    """One worker or gateway without a keeper."""

    def __init__(self, folder, command: str, *flags: str):
        port = service.free_port()
        super().__init__([command, "--listen", f"127.0.0.1:{port}", *flags], f"http://127.0.0.1:{port}",
                         folder / f"{port}.log")


@pytest.mark.parametrize("other", [("--weights", "q8"), ("--set", "engine.kv_type=bf16")], ids=["weights", "kv"])
def test_an_answer_never_goes_on_where_the_bits_differ(tmp_path, other):
    slow = ("--model", str(service.MODEL), "--set", "worker.tokens_per_second=200")
    workers = [Alone(tmp_path, "worker", *slow), Alone(tmp_path, "worker", *slow, *other)]
    gateway = Alone(tmp_path, "gateway", *(f"--instance={w.url},kind=holdfast" for w in workers), "--set", "timeouts.total=3s")
    try:
        for process in (*workers, gateway):
            process.wait_ready()
        service.wait_until(lambda: [i["state"] for i in instances(gateway)] == ["ready"] * 2, "both are ready")
        prints = {i["url"]: i["fingerprint"] for i in instances(gateway)}
        assert len(set(prints.values())) == 2
        body = {**SUM, "model": "tiny-r1", "stream": True, "stream_options": {"include_usage": True},
                "ignore_eos": True, "max_tokens": 400}
        struck, answer = asyncio.run(ask_and_kill_worker(gateway, workers, body))
        # It waited for one like the first until its time was over.
        assert answer.error and answer.error.startswith("error event"), answer
        # The other one is ready all the time, and serves what begins anew.
        (left,) = [w for w in workers if w is not struck]
        assert worker_metric({"url": left.url}, "holdfast_generation_tokens_total") == 0
        assert "9347" in content(gateway, {**SUM, "model": "tiny-r1", "max_tokens": 200})
    finally:
        for process in (gateway, *workers):
            process.stop()


def instances(gateway) -> list[dict]:
    return json.loads(service.get(gateway.url + "/admin/v1/status")[2])["instances"]


async def ask_and_kill_worker(gateway, workers, body):
    answer = load.Answer()
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(load.ask(session, gateway.url, body, answer))
        while len(answer.reasoning) < 20:
            await asyncio.sleep(0.005)
            assert not asking.done()
        (busy,) = [i["url"] for i in await asyncio.to_thread(instances, gateway) if i["outstanding"]]
        (struck,) = [w for w in workers if w.url == busy]
        struck.process.kill()
        return struck, await asking
