"""An instance is a stranger: whatever it says, the answer comes from elsewhere or as it should be, and the
gateway goes on. A good instance stands beside the hostile one, and both are of the same kind."""

import asyncio
import json

import aiohttp
import pytest

import external
import load
import service
from external import ANSWER, DONE, External, THINKING, choice, chunk, data

MAX_TOKENS = 60  # the whole answer has 40
WHOLE = {"model": "r1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": MAX_TOKENS}
STREAM = {**WHOLE, "stream": True, "stream_options": {"include_usage": True}}
# What these do not do in that time they never do.
PATIENCE_SECONDS = 30
KINDS = ["holdfast", "vllm", "llama-server", "openai"]
EVIL = {"content": "EVIL"}  # what no client may see
# Small limits, so that what is left to a limit is left soon; the breaker closes again at once.
SETTINGS = ("timeouts.first_token=3s", "timeouts.token_gap=3s", "health.breaker=10ms", "health.sick_max=1000")


class Front(service.Process):
    """A gateway in front of a hostile and a good instance of one kind."""

    def __init__(self, folder, kind: str, pages: dict | None = None):
        self.kind = kind
        self.bad, self.good = External(kind), External(kind)
        self.bad.pages = pages or {}
        self.bad.pause_seconds = self.good.pause_seconds = 0
        port = service.free_port()
        super().__init__(["gateway", "--listen", f"127.0.0.1:{port}", *(f"--set={s}" for s in SETTINGS),
                          *(f"--instance={e.url},kind={kind}" for e in (self.bad, self.good))],
                         f"http://127.0.0.1:{port}", folder / "gateway.log")

    def status(self) -> dict:
        code, _, raw = service.get(self.url + "/admin/v1/status")
        assert code == 200
        assert len(raw) < 65536, "what an instance says of itself must not fill the status"
        return json.loads(raw)

    def state(self, instance: External) -> str:
        (found,) = [i["state"] for i in self.status()["instances"] if i["url"] == instance.url]
        return found

    def ask_the_bad_one(self, body: dict) -> load.Answer:
        """The answer to a request that went to the hostile instance first, ties being broken by chance."""
        for _ in range(500):
            # Both ready, and nothing remembered: the pair is a tie again.
            service.wait_until(lambda: self.state(self.bad) == self.state(self.good) == "ready", "both are ready")
            before = len(self.bad.bodies)
            answer = ask(self.url, body)
            if len(self.bad.bodies) > before:
                return answer
        raise AssertionError("the hostile instance was never asked")

    def stop(self) -> int:
        code = super().stop()
        self.bad.stop()
        self.good.stop()
        return code


def ask(url: str, body: dict) -> load.Answer:
    async def one():
        answer = load.Answer()
        async with aiohttp.ClientSession() as session:
            try:
                return await asyncio.wait_for(load.ask(session, url, body, answer), PATIENCE_SECONDS)
            except TimeoutError:
                answer.error = f"no end after {len(answer.reasoning + answer.content)} characters"
                return answer

    return asyncio.run(one())


@pytest.fixture(scope="module", params=KINDS)
def fronts(request, tmp_path_factory):
    """One gateway of each kind for all tests. In the end the instance behaves, and is asked again."""
    target = Front(tmp_path_factory.mktemp("hostile"), request.param)
    try:
        target.wait_ready()
        yield target
        expect_the_answer(target.ask_the_bad_one(STREAM))
    finally:
        target.stop()


@pytest.fixture
def front(fronts):
    """That gateway. After every test the same process serves."""
    before = fronts.status()["pid"]
    yield fronts
    fronts.bad.mischief = None
    assert fronts.status()["pid"] == before and fronts.process.poll() is None
    expect_the_answer(ask(fronts.url, STREAM))


def expect_the_answer(answer: load.Answer) -> None:
    assert answer.complaint() is None, answer
    assert (answer.reasoning, answer.content) == ("".join(THINKING), "".join(ANSWER))
    assert answer.finish == "stop" and answer.usage["completion_tokens"] == len(THINKING + ANSWER)


def expect_the_answer_or_its_loss(front: Front, body: dict, answer: load.Answer) -> None:
    """What the client of a disturbed answer sees. A chat that an external server has begun to stream goes on
    elsewhere only if it offers what docs/guarantees.md names, and these do not: it may end with an error,
    never with anything wrong."""
    if front.kind != "holdfast" and body is STREAM and answer.error:
        assert answer.error.startswith(("error event", "status 502")), answer
        assert ("".join(THINKING) + "".join(ANSWER)).startswith(answer.reasoning + answer.content)
    else:
        expect_the_answer(answer)


def say(*events: dict | bytes):
    """A mischief that says these events."""
    async def mischief(_request, write):
        for event in events:
            await write(event if isinstance(event, bytes) and event.endswith(b"\n") else data(event))

    return mischief


def ids(values) -> dict:
    """Without text: other kinds do not have this member, and it is left out."""
    return chunk(choice(), holdfast={"ids": values})


def usage(**counts) -> dict:
    return chunk(usage={"prompt_tokens": 10, "completion_tokens": 40, "total_tokens": 50, **counts})


DEEP = 200_000
LONG = b"x" * 10_000_000


async def too_many_ids(request, write):
    """And then a loss: who has taken them cannot go on."""
    await write(data(ids([7] * 100_000)))
    request.transport.close()


async def ten_megabytes_without_a_newline(_request, write):
    await write(b"data: " + LONG)
    await write(b"\n\n")


async def ten_megabytes_of_comment(_request, write):
    await write(b": " + LONG)
    await write(b"\n\n")


async def many_empty_events(_request, write):
    for _ in range(100):
        await write(b"data:\n\n" * 1000)


# What is said amid an answer. Each of these is either left out or ends the attempt.
AMID = {
    "an id of 31 bits": say(ids([2**31 - 1])),
    "an id of 24 bits": say(ids([2**24])),
    "an id of 64 bits": say(ids([2**64 - 1])),
    "an id beyond all bits": say(ids([10**40])),
    "a negative id": say(ids([-1])),
    "an id that is no number": say(ids(["x"]), ids([None]), ids([1.5]), ids([{}])),
    "ids within ids": say(ids([[[[1]]]])),
    "more ids than were asked for": too_many_ids,
    "ids that are no list": say(ids({"0": 1}), ids("1"), ids(1)),
    "choice one": say(chunk(choice(EVIL, index=1))),
    "choice four billion": say(chunk(choice(EVIL, index=2**32 - 1))),
    "choice of 64 bits": say(chunk(choice(EVIL, index=2**64 - 1))),
    "a negative choice": say(chunk(choice(EVIL, index=-1))),
    "a choice that is text": say(chunk(choice(EVIL, index="0"))),
    "many choices": say(chunk(*(choice(EVIL, index=n) for n in range(10_000)))),
    "deep JSON": say(b'{"choices":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "deep JSON that never closes": say(b'{"choices":' + b'{"a":' * DEEP),
    "deep JSON in a member that nobody reads": say(b'{"choices":[],"x":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "half an object": say(b'{"choices":[{"index":0,"delta":{"content":"EV'),
    "two objects": say(json.dumps(chunk()).encode() + json.dumps(chunk(choice(EVIL))).encode()),
    "a list": say(b"[]"),
    "a number": say(b"17"),
    "broken UTF-8": say(b'{"choices":[{"index":0,"delta":{"content":"EVIL\xff\xfe"}}]}'),
    "zero bytes": say(b"data: \0\0\0\0\n\n"),
    "half a surrogate": say(b'{"choices":[{"index":0,"delta":{"content":"EVIL\\ud800"}}]}'),
    "a finish that is a list": say(b'{"choices":[{"index":0,"delta":{"content":"EVIL"},"finish_reason":["stop"]}]}'),
    "an error that is deep": say(b'{"error":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "a long error": say(b'{"error":{"message":"' + LONG[:3_000_000] + b'","code":500}}'),
    "scores without end": say(b'{"choices":[{"index":0,"delta":{"content":"EVIL"},"logprobs":{"content":['
                              + b'{"token":"x","logprob":-1e999},' * 50_000 + b"{}]}}]}"),
    "ten megabytes without a newline": ten_megabytes_without_a_newline,
    "ten megabytes of comment": ten_megabytes_of_comment,
    "many empty events": many_empty_events,
    "an end before the end": say(DONE),
    "negative usage": say(usage(completion_tokens=-5)),
    "usage of 64 bits": say(usage(completion_tokens=2**64 - 1, prompt_tokens=2**64 - 1)),
    "usage beyond all bits": say(usage(completion_tokens=10**40)),
    "usage of fractions": say(usage(completion_tokens=1e308)),
}


@pytest.mark.parametrize("what", AMID)
@pytest.mark.parametrize("body, at", [(WHOLE, 0), (STREAM, 25)], ids=["whole, at once", "streamed, later"])
def test_nonsense_amid_an_answer_does_no_harm(front, body, at, what):
    front.bad.mischief, front.bad.mischief_at = AMID[what], at
    answer = front.ask_the_bad_one(body)
    assert "EVIL" not in answer.reasoning + answer.content
    expect_the_answer_or_its_loss(front, body, answer)


AFTER_FINISH = {
    "more text": say(chunk(choice(EVIL))),
    "another finish": say(chunk(choice(EVIL, finish="length"))),
    "more ids": say(ids([1])),
    "another role": say(chunk(choice({"role": "user", "content": "EVIL"}))),
    "usage of 64 bits": say(usage(completion_tokens=2**64 - 1)),
    "ten megabytes without a newline": ten_megabytes_without_a_newline,
}


@pytest.mark.parametrize("what", AFTER_FINISH)
@pytest.mark.parametrize("body", [WHOLE, STREAM], ids=["whole", "streamed"])
def test_what_follows_the_finish_is_not_part_of_the_answer(front, body, what):
    front.bad.mischief, front.bad.mischief_at = AFTER_FINISH[what], External.AFTER_FINISH
    expect_the_answer_or_its_loss(front, body, front.ask_the_bad_one(body))


async def talk_for_ever(_request, write):
    """Until the gateway hangs up: then writing fails, or the server cancels this."""
    while True:
        await write(data(chunk(choice(EVIL))) * 10)
        await asyncio.sleep(0.001)


def test_what_follows_the_end_is_not_part_of_the_answer(front):
    front.bad.mischief, front.bad.mischief_at = talk_for_ever, External.AFTER_DONE
    expect_the_answer(front.ask_the_bad_one(STREAM))


def test_usage_that_contradicts_the_ids_is_not_passed_on(front):
    """Only holdfast instances tell ids; what others count nobody can know."""
    front.bad.mischief = say(usage(completion_tokens=12_345_678, total_tokens=12_345_688))
    front.bad.mischief_at = External.AFTER_FINISH
    answer = front.ask_the_bad_one(STREAM)
    assert answer.complaint() is None or front.kind != "holdfast", answer
    assert answer.content == "".join(ANSWER)
    if front.kind == "holdfast":
        assert answer.usage["completion_tokens"] == len(THINKING + ANSWER)


@pytest.mark.parametrize("body", [WHOLE, STREAM], ids=["whole", "streamed"])
def test_a_stream_beyond_max_tokens_is_ended(front, body):
    hung_up = []

    async def mischief(_request, write):
        number = 0
        try:
            while True:
                more = chunk(choice({"content": "more "}))
                if front.kind == "holdfast":
                    more["holdfast"] = {"ids": [5000 + number % 1000]}
                await write(data(more))
                number += 1
                await asyncio.sleep(0.0005)
        finally:
            hung_up.append(number)

    front.bad.mischief, front.bad.mischief_at = mischief, External.BEFORE_FINISH
    answer = front.ask_the_bad_one(body)
    assert not (answer.error or "").startswith("no end"), answer.error
    text = answer.content
    assert "".join(ANSWER).startswith(text) or text.startswith("".join(ANSWER))
    # The gateway grants a few ids more, and others, who tell no ids, two events a token and some of their own.
    granted = MAX_TOKENS + 16 if front.kind == "holdfast" else 2 * MAX_TOKENS + 64
    assert text.count("more ") <= granted - len(external.PIECES) + 1, "more than was asked for"
    service.wait_until(lambda: hung_up, "the gateway hangs up")


@pytest.mark.parametrize("event", [chunk(choice()), chunk()], ids=["empty delta", "no choice"])
def test_a_stream_that_never_says_anything_ends_with_the_request(front, event):
    async def mischief(_request, write):
        while True:
            await write(data(event) * 10)
            await asyncio.sleep(0.001)

    front.bad.mischief, front.bad.mischief_at = mischief, 0
    for _ in range(500):
        before = len(front.bad.bodies)
        status, _, raw = service.post(front.url + "/v1/chat/completions", WHOLE, {"x-holdfast-timeout-ms": "4000"})
        if len(front.bad.bodies) > before:
            break
    assert len(front.bad.bodies) > before
    assert status in (200, 503, 504), raw
    if status == 200:
        assert json.loads(raw)["choices"][0]["message"]["content"] == "".join(ANSWER)


def raw_head(*parts: bytes):
    """A mischief in place of the head: these bytes, and then the connection ends."""
    async def mischief(request, write):
        for part in parts:
            write(part)
            await asyncio.sleep(0)
        request.transport.close()
        raise asyncio.CancelledError

    return mischief


async def informational_heads_for_ever(request, write):
    while not request.transport.is_closing():
        write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await asyncio.sleep(0.001)
    raise asyncio.CancelledError


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
HEADS = {
    "a length of 64 bits": raw_head(OK + b"Content-Length: 18446744073709551615\r\n\r\ndata: EVIL\n\n"),
    "a negative length": raw_head(OK + b"Content-Length: -1\r\n\r\ndata: EVIL\n\n"),
    "two lengths": raw_head(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nEVIL"),
    "a chunk of 64 bits": raw_head(OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nEVIL"),
    "a chunk size without end": raw_head(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 1_000_000),
    "a trailer without end": raw_head(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 200_000),
    "a header without end": raw_head(OK + b"x: " + LONG),
    "headers without end": raw_head(OK + b"a: b\r\n" * 500_000),
    "a fingerprint of 60 kB": raw_head(OK + b"x-holdfast-fingerprint: " + b"f" * 60_000 + b"\r\n\r\ndata: EVIL\n\n"),
    "no HTTP": raw_head(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "only zeros": raw_head(b"\0" * 100_000),
    "a status of ten digits": raw_head(b"HTTP/1.1 2000000000 OK\r\n\r\n"),
    "nothing": raw_head(b""),
    "a redirect": raw_head(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    "no content": raw_head(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a switch of protocols": raw_head(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nEVIL"),
    "a long error": raw_head(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % len(LONG), LONG),
    "a deep error": raw_head(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % (2 * DEEP),
                             b"[" * DEEP + b"]" * DEEP),
    "informational heads for ever": informational_heads_for_ever,
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_that_is_none_sends_the_request_elsewhere(front, what):
    front.bad.mischief, front.bad.mischief_at = HEADS[what], External.HEAD
    expect_the_answer(front.ask_the_bad_one(STREAM))


def test_a_long_error_is_not_passed_on_as_it_is(front):
    """A client error is the client's to read, but nobody reads ten megabytes."""
    body = json.dumps({"error": {"message": "long " * 2_000_000, "type": "invalid_request_error", "param": "x" * 10**6,
                                 "code": "y" * 10**6}}).encode()
    front.bad.mischief = raw_head(b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                                  % len(body), body)
    front.bad.mischief_at = External.HEAD
    for _ in range(500):
        before = len(front.bad.bodies)
        status, _, raw = service.post(front.url + "/v1/chat/completions", WHOLE)
        if len(front.bad.bodies) > before:
            break
    assert status in (200, 400)
    if status == 400:
        assert "long" in json.loads(raw)["error"]["message"] and len(raw) < 65536


def models(*entries: dict, **members) -> bytes:
    return json.dumps({"object": "list", "data": list(entries), **members}).encode()


def ready(**members) -> bytes:
    return json.dumps({"ready": True, "reasons": [], "model": "r1", "fingerprint": "scripted", "context": 4096,
                       "load_progress": 1.0, "pid": 1, "instance_life": "x", "running": 0, "waiting": 0, "progress": 1,
                       "draining": False, **members}).encode()


HUGE = 2**64 - 1
PAGES = {
    "huge counts": (ready(context=HUGE, running=HUGE, waiting=HUGE, progress=HUGE, pid=HUGE),
                    models({"id": "r1", "max_model_len": HUGE})),
    "counts beyond all bits": (ready(context=10**40, running=10**40, progress=10**40, load_progress=1e308),
                               models({"id": "r1", "max_model_len": 10**40})),
    "negative counts": (ready(context=-1, running=-1, waiting=-1, progress=-1, pid=-1),
                        models({"id": "r1", "max_model_len": -1})),
    "long texts": (ready(fingerprint="f" * 10**6, instance_life="l" * 10**6, reasons=["r" * 10**6]),
                   models({"id": "r1"}, {"id": "m" * 10**6})),
    "many texts": (ready(ready=False, reasons=["r"] * 300_000), models(*({"id": f"m{n}"} for n in range(200_000)))),
    "deep": (b'{"ready":true,"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
             b'{"data":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "ten megabytes": (b" " * 10_000_000, b" " * 10_000_000),
    "no JSON": (b"<html>", b"<html>"),
    "other types": (ready(ready="yes", reasons={}, model=7, fingerprint=[], context="x"), models("r1", 7, {"id": 7})),
    "text with line ends": (ready(fingerprint="a\nb\r\n\r\nx-evil: 1", model="r1", reasons=["a\nb"]),
                            models({"id": "r1\r\n\r\n"})),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("kind", ["holdfast", "vllm"])
@pytest.mark.parametrize("what", PAGES)
def test_a_probe_answer_that_lies_ejects_at_most_its_instance(tmp_path, kind, what):
    pages = dict(zip(("/readyz", "/v1/models"), PAGES[what]))
    target = Front(tmp_path, kind, pages)
    try:
        target.wait_ready()
        probed = "/readyz" if kind == "holdfast" else "/v1/models"
        service.wait_until(lambda: target.bad.page_count(probed) >= 1, "a probe")
        service.wait_until(lambda: target.state(target.good) == "ready", "the good one is ready")
        for _ in range(4):
            expect_the_answer(ask(target.url, STREAM))
    finally:
        assert target.stop() == 0
