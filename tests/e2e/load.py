"""Asks many questions at once and keeps every answer exactly as it came."""

import asyncio
import dataclasses
import json
import random
import time

import aiohttp


@dataclasses.dataclass
class Answer:
    """What a client saw of one request."""

    reasoning: str = ""
    content: str = ""
    finish: str | None = None
    usage: dict | None = None
    ids: set = dataclasses.field(default_factory=set)
    roles: int = 0
    error: str | None = None
    longest_gap: float = 0.0  # seconds between two pieces, or until the first
    resume: str | None = None  # x-holdfast-resume

    def essence(self) -> tuple:
        """What must be the same in every run."""
        return self.reasoning, self.content, self.finish, json.dumps(self.usage, sort_keys=True)

    def complaint(self) -> str | None:
        """Why this answer is not a proper one, or None."""
        if self.error:
            return self.error
        if self.finish is None or self.usage is None:
            return "no finish reason or no usage"
        if len(self.ids) != 1:
            return f"{len(self.ids)} different ids"
        return None


def questions(count: int, seed: int) -> list[dict]:
    """Request bodies: arithmetic in two languages; greedy and seeded at temperature 0.6 mixed,
    streamed and whole mixed."""
    chance = random.Random(seed)
    bodies = []
    for number in range(count):
        a, b = chance.randrange(10, 999_999), chance.randrange(10, 999_999)
        text = chance.choice([f"What is {a} + {b}?", f"What is {a} - {b}?", f"{a} + {b} 等于多少？",
                              f"What is {a % 1000} * {b % 100}?", "Who are you?"])
        body = {"model": "tiny-r1", "messages": [{"role": "user", "content": text}], "max_tokens": 600,
                "stream": number % 3 != 2, "temperature": 0 if number % 2 else 0.6, "seed": 1000 + number}
        if body["stream"]:
            body["stream_options"] = {"include_usage": True}
        bodies.append(body)
    return bodies


async def ask(session: aiohttp.ClientSession, url: str, body: dict, answer: Answer | None = None) -> Answer:
    """One request; never raises, an error becomes part of the answer. One that is given grows
    while the stream does."""
    answer = answer or Answer()
    started = time.monotonic()
    try:
        async with session.post(url + "/v1/chat/completions", json=body) as response:
            answer.resume = response.headers.get("x-holdfast-resume")
            if response.status != 200:
                answer.error = f"status {response.status}: {(await response.text())[:300]}"
            elif body.get("stream"):
                await _read_stream(response, answer, started)
            else:
                _take_whole(await response.json(), answer)
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        answer.error = f"{type(error).__name__}: {error}"
    return answer


def _take_whole(reply: dict, answer: Answer) -> None:
    choice = reply["choices"][0]
    answer.ids.add(reply["id"])
    answer.roles = 1
    answer.reasoning = choice["message"].get("reasoning_content") or ""
    answer.content = choice["message"].get("content") or ""
    answer.finish = choice["finish_reason"]
    answer.usage = reply["usage"]


async def _read_stream(response: aiohttp.ClientResponse, answer: Answer, last: float) -> None:
    done = False
    async for raw in response.content:
        line = raw.decode().rstrip("\r\n")
        if not line.startswith("data: "):
            continue
        now = time.monotonic()
        answer.longest_gap = max(answer.longest_gap, now - last)
        last = now
        if line == "data: [DONE]":
            done = True
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            answer.error = f"error event: {chunk['error']}"
            return
        _take_chunk(chunk, answer)
    if not done and answer.error is None:
        answer.error = "stream ended without [DONE]"


def _take_chunk(chunk: dict, answer: Answer) -> None:
    answer.ids.add(chunk["id"])
    if chunk.get("usage"):
        answer.usage = chunk["usage"]
    for choice in chunk["choices"]:
        delta = choice.get("delta", {})
        answer.roles += 1 if delta.get("role") else 0
        answer.reasoning += delta.get("reasoning_content") or ""
        answer.content += delta.get("content") or ""
        answer.finish = choice.get("finish_reason") or answer.finish


async def ask_all(url: str, bodies: list[dict], concurrency: int, on_answer=None) -> list[Answer]:
    """All of `bodies`, `concurrency` at a time; answers in the order of `bodies`."""
    answers: list[Answer] = [Answer() for _ in bodies]
    todo = iter(range(len(bodies)))
    timeout = aiohttp.ClientTimeout(total=600)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def work():
            for index in todo:
                answers[index] = await ask(session, url, bodies[index])
                if on_answer:
                    on_answer(index, answers[index])

        await asyncio.gather(*(work() for _ in range(concurrency)))
    return answers
