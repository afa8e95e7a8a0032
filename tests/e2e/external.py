"""A scripted external server that behaves like vLLM or like llama-server towards the gateway."""

import asyncio
import json
import threading

from aiohttp import web

THINKING = [f"thought {n} " for n in range(20)]
ANSWER = [f"word {n} " for n in range(20)]
OPENED = "<think>\n" + "".join(THINKING) + "\n</think>\n\n"


class External:
    """Runs in a thread of its own. `break_after` holds, for the next requests in turn, after how
    many events the connection is cut (None: never)."""

    def __init__(self, kind: str, break_after: list | None = None):
        self.kind = kind
        self.break_after = list(break_after or [])
        self.bodies: list[dict] = []
        self.failing_with: int | None = None
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
        app.router.add_get("/health", _healthy)
        app.router.add_get("/v1/models", self._models)
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

    async def _models(self, _):
        entry = {"id": "r1", "object": "model", "created": 1, "owned_by": self.kind, "max_model_len": 4096}
        return web.json_response({"object": "list", "data": [entry]})

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
        pieces = self._pieces(self._already(body))
        cut = self.break_after.pop(0) if self.break_after else None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._send(response, {"role": "assistant", "content": None})
        for number, delta in enumerate(pieces):
            if cut is not None and number == cut:
                request.transport.abort()
                return response
            await self._send(response, delta)
        await self._send(response, {}, finish="stop")
        usage = {"prompt_tokens": 10 + 40 - len(pieces), "completion_tokens": len(pieces), "total_tokens": 50}
        await self._raw(response, {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "r1",
                                   "choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    def _pieces(self, already: str) -> list[dict]:
        """What is left to say after `already`, one delta a piece."""
        field = "reasoning" if self.kind == "vllm" else "reasoning_content"
        whole = [("<think>\n" + "".join(THINKING[: n + 1]), {field: t}) for n, t in enumerate(THINKING)]
        whole += [(OPENED + "".join(ANSWER[: n + 1]), {"content": t}) for n, t in enumerate(ANSWER)]
        said = [n for n, (prefix, _) in enumerate(whole) if prefix == already]
        assert already == "" or said, f"cannot continue from {already!r}"
        return [delta for _, delta in whole[said[0] + 1 if said else 0:]]

    async def _send(self, response, delta: dict, finish: str | None = None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        await self._raw(response, {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "r1",
                                   "choices": [choice]})

    async def _raw(self, response, chunk: dict):
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await asyncio.sleep(0.002)


async def _healthy(_request):
    return web.Response(text="")
