"""Real servers of other projects behind a gateway, and a wire that loses them at a chosen event."""

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import aiohttp

import service

LLAMA_SERVER = pathlib.Path(__file__).with_name("llama_server.py")
NAME = "tiny-r1"


@dataclasses.dataclass
class Plan:
    """What happens to the next answer that gets this far: after `events` events the wire acts once."""

    events: int
    act: str  # "kill", "stop" (the server falls silent with all its connections), "drop" (one connection)
    done: bool = False


class Wire:
    """Stands between the gateway and one server and hands every byte on, until a plan says otherwise.
    Events are counted, so the loss comes at the same place however fast the server is."""

    def __init__(self, server: "Server"):
        self.server = server
        self.plan: Plan | None = None
        self._tasks: set[asyncio.Task] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        started.wait()

    async def _serve(self, started: threading.Event):
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:%d" % listener.sockets[0].getsockname()[1]
        started.set()
        await self._end.wait()
        listener.close()
        for task in self._tasks:
            task.cancel()

    def close(self):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self.server.port)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        try:
            await asyncio.gather(self._copy(reader, forth), self._copy_answers(back, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, forth):
                end.transport.abort()
            self._tasks.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError

    async def _copy_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        events, rest = 0, b""
        while piece := await reader.read(65536):
            *lines, rest = (rest + piece).splitlines(keepends=True)
            # Only a line that may yet become an event's has to wait for its end; a body has none.
            if rest.endswith(b"\n") or not rest.startswith(b"data: "[: len(rest)]):
                lines.append(rest)
                rest = b""
            for line in lines:
                if line.startswith(b"HTTP/1."):  # connections are used again
                    events = 0
                if line.startswith(b"data: "):
                    await self._meet_plan(events, writer)
                    events += 1
                writer.write(line)
            await writer.drain()
        raise ConnectionResetError

    async def _meet_plan(self, events: int, writer: asyncio.StreamWriter):
        plan = self.plan
        if plan and not plan.done and events == plan.events:
            plan.done = True
            await writer.drain()
            await self._act(plan.act)

    async def _act(self, act: str):
        if act == "stop":
            self.server.stand_still()
            await self._end.wait()
        elif act == "kill":
            self.server.stop()
        raise ConnectionResetError


class Server:
    """One real server. Its port stays the same over restarts."""

    kind: str

    def __init__(self, folder: pathlib.Path, command: list, environment: dict | None = None):
        self.port = service.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"{self.kind}-{self.port}.log"
        self._command = [str(part) for part in command] + self.arguments()
        self._environment = {**service.clean_environment(), **(environment or {})}
        self.start()

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def start(self):
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment,
                                            start_new_session=True)

    def send_signal(self, number: int):
        """To the server and every process that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stand_still(self):
        """No process of it runs any more, and no connection ends."""
        self.send_signal(signal.SIGSTOP)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.kind} ended with {self.process.returncode}:\n{self._log.read_text()[-3000:]}")
        try:
            return service.get(self.url + "/health", timeout=10)[0] == 200
        except OSError:
            return False

    def wait_ready(self, seconds: float = 120):
        service.wait_until(self.answers, f"{self.kind} answers", seconds)
        return self

    def revive(self):
        """Makes it answer again, whatever has happened to it."""
        self.send_signal(signal.SIGCONT)
        if self.process.poll() is not None or self.process.returncode is not None:
            self.start()
        self.wait_ready()

    def stop(self):
        self.send_signal(signal.SIGKILL)
        self.process.wait()


class LlamaServer(Server):
    kind = "llama-server"

    def __init__(self, folder: pathlib.Path, gguf: pathlib.Path, python: str = sys.executable):
        super().__init__(folder, [python, LLAMA_SERVER, gguf])

    def arguments(self) -> list[str]:
        return [str(self.port)]


class Vllm(Server):
    kind = "vllm"

    def __init__(self, folder: pathlib.Path, python: str, parses_reasoning: bool = True):
        flags = ["--reasoning-parser", "deepseek_r1"] if parses_reasoning else []
        super().__init__(
            folder, [python, "-m", "vllm.entrypoints.openai.api_server", "--model", service.MODEL,
                     "--served-model-name", NAME, "--dtype", "float32", "--enforce-eager",
                     "--max-model-len", "4096", *flags],
            {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1",
             "OMP_NUM_THREADS": "1", "KMP_BLOCKTIME": "0"})

    def arguments(self) -> list[str]:
        return ["--port", str(self.port)]

    def stand_still(self):
        """The engine, a process of its own, hangs; the front goes on answering."""
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if "EngineCore" in pathlib.Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(int(child), signal.SIGSTOP)


class Front(service.Process):
    """`holdfast gateway` in front of real servers, each at the end of a wire."""

    def __init__(self, folder: pathlib.Path, servers: list[Server], *flags: str):
        self.servers = servers
        self.wires = [Wire(server) for server in servers]
        port = service.free_port()
        entries = [f for w in self.wires for f in ("--instance", f"{w.url},kind={w.server.kind}")]
        super().__init__(["gateway", "--listen", f"127.0.0.1:{port}", *entries, *flags],
                         f"http://127.0.0.1:{port}", folder / "gateway.log")

    def instances(self) -> list[dict]:
        return json.loads(service.get(self.url + "/admin/v1/status")[2])["instances"]

    def wait_all_ready(self):
        self.wait_ready()
        service.wait_until(lambda: all(i["state"] == "ready" for i in self.instances()), "all servers are ready")
        return self

    def plan(self, plan: Plan | None):
        """The first answer that gets so far, at whichever server, meets it."""
        for wire in self.wires:
            wire.plan = plan

    def mend(self):
        """After a loss: all servers live and the gateway knows."""
        for server in self.servers:
            server.revive()
        self.wait_all_ready()

    def stop(self) -> int:
        for wire in self.wires:
            wire.close()
        return super().stop()


@dataclasses.dataclass
class Seen:
    """What a client saw of one answer, in a form that streams and whole answers share."""

    reasoning: str = ""
    text: str = ""
    finish: str | None = None
    usage: dict | None = None
    scores: list = dataclasses.field(default_factory=list)
    promise: str | None = None
    error: str | None = None

    def essence(self) -> dict:
        usage = {k: (self.usage or {}).get(k) for k in ("prompt_tokens", "completion_tokens")}
        tokens = [entry["token"] for entry in self.scores]
        return {"reasoning": self.reasoning, "text": self.text, "finish": self.finish, "usage": usage,
                "scores": tokens, "error": self.error}

    def logprobs(self) -> list[float]:
        return [entry["logprob"] for entry in self.scores]


def ask(target: Front, body: dict) -> Seen:
    """One request to chat or completions, whichever `body` is for."""
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"

    async def one() -> Seen:
        seen = Seen()
        async with aiohttp.ClientSession() as session, session.post(target.url + path, json=body) as response:
            seen.promise = response.headers.get("x-holdfast-resume")
            if response.status != 200:
                seen.error = f"status {response.status}: {(await response.text())[:300]}"
            elif body.get("stream"):
                await _read_stream(response, seen)
            else:
                _take(await response.json(), seen)
        return seen

    return asyncio.run(one())


async def _read_stream(response: aiohttp.ClientResponse, seen: Seen):
    done = False
    async for raw in response.content:
        line = raw.decode().rstrip("\r\n")
        if line == "data: [DONE]":
            done = True
        elif line.startswith("data: "):
            chunk = json.loads(line[6:])
            if "error" in chunk:
                seen.error = f"error event: {chunk['error']}"
                return
            _take(chunk, seen)
    if not done:
        seen.error = "stream ended without [DONE]"


def _take(part: dict, seen: Seen):
    seen.usage = part.get("usage") or seen.usage
    for choice in part["choices"]:
        said = choice.get("delta") or choice.get("message") or choice
        seen.reasoning += said.get("reasoning_content") or ""
        seen.text += said.get("content") or said.get("text") or ""
        seen.finish = choice.get("finish_reason") or seen.finish
        seen.scores += _scores(choice.get("logprobs") or {})


def _scores(logprobs: dict) -> list[dict]:
    if "content" in logprobs:
        return logprobs["content"] or []
    return [{"token": t, "logprob": p} for t, p in zip(logprobs.get("tokens", []), logprobs.get("token_logprobs", []))]
