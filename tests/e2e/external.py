"""The scripted instance of the tests: it behaves like a holdfast worker, vLLM, llama-server or some other
server with OpenAI's API towards the gateway, and misbehaves on demand."""

import asyncio
import collections
import json
import threading

from aiohttp import web

THINKING = [f"thought {n} " for n in range(20)]
ANSWER = [f"word {n} " for n in range(20)]
PIECES = THINKING + ANSWER
OPENED = "<think>\n" + "".join(THINKING) + "\n</think>\n\n"
FIRST_ID = 1000  # of a holdfast instance; one token a piece
DONE = b"data: [DONE]\n\n"


def data(chunk) -> bytes:
    """An event of a stream."""
    return b"data: " + (chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()) + b"\n\n"


def chunk(*choices: dict, **members) -> dict:
    """A chunk of a chat answer."""
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "r1", "choices": list(choices),
            **members}


def choice(delta: dict | None = None, index: int = 0, finish: str | None = None) -> dict:
    """The part of a chunk that says something."""
    return {"index": index, "delta": {} if delta is None else delta, "logprobs": None, "finish_reason": finish}


class External:
    """Runs in a thread of its own. `break_after` holds, for the next requests in turn, after how
    many events the connection is cut (None: never).

    `mischief`, a coroutine function, is called once in every answer with the request and a function that
    writes bytes to the stream: before the piece numbered `mischief_at`, or in place of the head (HEAD; it
    then writes to the request's transport), before or after the finish or after the end.
    If it returns, the answer goes on as it should. `pages` are answers to GET in place of the proper ones."""

    HEAD, BEFORE_FINISH, AFTER_FINISH, AFTER_DONE = -1, len(PIECES), 1000, 1001

    def __init__(self, kind: str, break_after: list | None = None):
        self.kind = kind
        self.break_after = list(break_after or [])
        self.bodies: list[dict] = []
        self.failing_with: int | None = None
        self.pause_seconds = 0.002
        self.mischief = None
        self.mischief_at = 0
        self.pages: dict[str, bytes] = {}
        self._pages_given = collections.Counter()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait()

    def _run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/health", self._page)
        app.router.add_get("/readyz", self._page)
        app.router.add_get("/v1/models", self._page)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._started.set()
        await self._stopped.wait()
        await runner.cleanup()

    def stop(self):
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def page_count(self, path: str) -> int:
        """How often that page was asked for."""
        return self._pages_given[path]

    async def _page(self, request):
        self._pages_given[request.path] += 1
        if request.path in self.pages:
            return web.Response(body=self.pages[request.path], content_type="application/json")
        model = {"id": "r1", "object": "model", "created": 1, "owned_by": self.kind, "max_model_len": 4096}
        ready = {"ready": True, "reasons": [], "model": "r1", "fingerprint": "scripted", "context": 4096,
                 "load_progress": 1.0, "pid": 1, "instance_life": f"{id(self):x}", "running": 0, "waiting": 0,
                 "progress": 1, "draining": False}
        proper = {"/health": {}, "/readyz": ready, "/v1/models": {"object": "list", "data": [model]}}
        return web.json_response(proper[request.path])

    def _already(self, body: dict) -> str:
        """The delivered text that the request asks to continue, thinking and answer together."""
        last = body["messages"][-1]
        if last["role"] != "assistant":
            return ""
        if self.kind == "vllm":
            assert body["continue_final_message"] and not body["add_generation_prompt"]
            # R1's template drops finished thinking, so only the answer's beginning can be sent.
            thinking = last["content"].startswith("<think>\n")
            return last["content"] if thinking else OPENED + last["content"]
        return "<think>\n" + last["content"]  # the server's template opens the thinking

    async def _chat(self, request):
        body = await request.json()
        self.bodies.append(body)
        if self.failing_with:
            return web.json_response({"error": {"message": "broken", "code": self.failing_with}},
                                     status=self.failing_with)
        first = self._first(body)
        cut = self.break_after.pop(0) if self.break_after else None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **self._own_headers()})
        await self._misbehave(self.HEAD, request, request.transport.write)
        await response.prepare(request)

        async def write(raw: bytes) -> None:
            await response.write(raw)

        await write(data(chunk(choice({"role": "assistant", "content": None}))))
        for number in range(first, len(PIECES)):
            if cut is not None and number - first == cut:
                request.transport.abort()
                return response
            await self._misbehave(number, request, write)
            await write(data(self._piece(number)))
            await asyncio.sleep(self.pause_seconds)
        await self._misbehave(self.BEFORE_FINISH, request, write)
        await write(data(chunk(choice(finish="stop"))))
        await self._misbehave(self.AFTER_FINISH, request, write)
        await write(data(chunk(usage=self._usage(first))))
        await write(DONE)
        await self._misbehave(self.AFTER_DONE, request, write)
        return response

    async def _misbehave(self, now: int, request, write) -> None:
        if self.mischief and now == self.mischief_at:
            await self.mischief(request, write)

    def _own_headers(self) -> dict:
        return {"x-holdfast-fingerprint": "scripted"} if self.kind == "holdfast" else {}

    def _usage(self, first: int) -> dict:
        """A holdfast instance counts an answer as a whole, others what they have said themselves."""
        if self.kind == "holdfast":
            said = max(len(PIECES), first)
            return {"prompt_tokens": 10, "completion_tokens": said, "total_tokens": 10 + said}
        said = len(PIECES) - first
        return {"prompt_tokens": 10 + len(PIECES) - said, "completion_tokens": said, "total_tokens": 10 + len(PIECES)}

    def _first(self, body: dict) -> int:
        """The number of the first piece that the request does not have yet."""
        if self.kind == "holdfast":
            (ids,) = body["holdfast"].get("resume", [[]])
            if len(ids) >= body["max_tokens"]:
                return len(ids)  # whatever they are, the answer has ended
            assert ids == list(range(FIRST_ID, FIRST_ID + len(ids))), f"cannot continue from {ids}"
            return len(ids)
        already = self._already(body)
        if not already:
            return 0
        prefixes = ["<think>\n" + "".join(THINKING[: n + 1]) for n in range(len(THINKING))]
        prefixes += [OPENED + "".join(ANSWER[: n + 1]) for n in range(len(ANSWER))]
        assert already in prefixes, f"cannot continue from {already!r}"
        return prefixes.index(already) + 1

    def _piece(self, number: int) -> dict:
        field = "reasoning" if self.kind == "vllm" else "reasoning_content"
        delta = {field if number < len(THINKING) else "content": PIECES[number]}
        if self.kind == "holdfast":
            return chunk(choice(delta), holdfast={"ids": [FIRST_ID + number]})
        return chunk(choice(delta))
