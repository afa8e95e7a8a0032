"""External servers are instances too: scripted fakes of vLLM and llama-server behind the gateway."""

import asyncio
import json
import pathlib

import aiohttp
import pytest

import external
import load
import service

BODY = {"model": "r1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}


class Gateway(service.Process):
    """`holdfast gateway` alone, in front of given servers."""

    def __init__(self, folder: pathlib.Path, servers: list[external.External], settings: tuple = ()):
        port = service.free_port()
        flags = [f for s in servers for f in ("--instance", f"{s.url},kind={s.kind}")]
        super().__init__(["gateway", "--listen", f"127.0.0.1:{port}", *flags, *(f"--set={s}" for s in settings)],
                         f"http://127.0.0.1:{port}", folder / "gateway.log")


@pytest.fixture
def front(tmp_path):
    """Makes a gateway in front of scripted servers; stops all of them at the end."""
    begun = []

    def begin(*servers: external.External, settings: tuple = ()) -> Gateway:
        begun.append(Gateway(tmp_path, list(servers), settings))
        begun.extend(servers)
        return begun[0].wait_ready()

    yield begin
    for one in begun:
        one.stop()


def ask(target, body) -> load.Answer:
    async def one():
        async with aiohttp.ClientSession() as session:
            return await load.ask(session, target.url, body)

    return asyncio.run(one())


STREAM = {**BODY, "stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("kind", ["vllm", "llama-server"])
@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "streamed"])
def test_answers_of_both_kinds_have_one_form(front, kind, body):
    answer = ask(front(external.External(kind)), body)
    assert answer.complaint() is None
    assert answer.reasoning == "".join(external.THINKING)
    assert answer.content == "".join(external.ANSWER)
    assert answer.resume == "restart"  # they offer nothing that an answer could go on from
    assert answer.usage["completion_tokens"] == 40


@pytest.mark.parametrize("kind", ["vllm", "llama-server", "openai"])
def test_a_server_that_cannot_continue_ends_the_stream_with_one_error_event(front, kind):
    target = front(external.External(kind, break_after=[5]))
    answer = ask(target, STREAM)
    assert answer.resume == "restart"
    assert answer.error.startswith("error event") and answer.reasoning == "".join(external.THINKING[:5])


def test_a_whole_answer_begins_again_where_it_cannot_continue(front):
    target = front(external.External("openai", break_after=[5]))
    answer = ask(target, BODY)
    assert answer.complaint() is None
    assert answer.content == "".join(external.ANSWER) and answer.reasoning == "".join(external.THINKING)


def test_a_failing_server_is_left_for_a_good_one_and_its_circuit_opens(front):
    bad, good = external.External("vllm"), external.External("vllm")
    bad.failing_with = 500
    target = front(bad, good, settings=("health.sick_max=3", "health.breaker=30s"))
    for _ in range(200):  # ties between the two are broken by chance: until the bad one has failed often enough
        assert ask(target, BODY).complaint() is None
        if len(bad.bodies) == 3:
            break
    shown = {i["url"]: i for i in json.loads(service.get(target.url + "/admin/v1/status")[2])["instances"]}
    assert (shown[bad.url]["state"], shown[bad.url]["reason"]) == ("ejected", "3 failures in a row")
    assert shown[good.url]["state"] == "ready"
    before = len(good.bodies)
    for _ in range(20):
        assert ask(target, BODY).complaint() is None
    assert (len(bad.bodies), len(good.bodies)) == (3, before + 20)


def test_a_client_error_is_passed_on_and_not_retried(front):
    server = external.External("vllm")
    server.failing_with = 400
    target = front(server)
    status, _, raw = service.post(target.url + "/v1/chat/completions", BODY)
    assert status == 400 and "broken" in json.loads(raw)["error"]["message"]
    assert len(server.bodies) == 1
