#!/usr/bin/python3
"""The relay beside nginx: one backend, one load generator, both proxies in turn, in one run.

docs/benchmarks.md says what is measured and how to read the table.
"""

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROXIES = ("nginx", "holdfast")
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10

NGINX_CONFIG = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log {access_log};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream backend {{
        server {backend};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

WRK_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{body}]]
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '{{"requests": %d, "microseconds": %d, "bytes": %d, "p50_us": %d, "p99_us": %d, "errors": %d}}\\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclasses.dataclass(frozen=True)
class Load:
    """One kind of answer and how many clients ask for it at once, each again and again."""

    name: str
    what: str
    connections: int
    events: int
    event_bytes: int
    stream: bool
    pause_us: int = 0

    def body(self) -> str:
        return json.dumps({
            "model": "scripted",
            "messages": [{"role": "user", "content": "What is 3478 + 5869? Think first."}],
            "max_tokens": self.events,
            "stream": self.stream,
            "user": f"event_bytes={self.event_bytes} pause_us={self.pause_us}",
        })

    @property
    def unit(self) -> str:
        return "events" if self.stream else "requests"

    @property
    def units_per_answer(self) -> int:
        return self.events if self.stream else 1


def loads(connections: list[int]) -> list[Load]:
    answers = [Load("answer", "1 KiB answer, whole", c, 1, 1024, False) for c in connections]
    streams = [Load("stream", "stream of 100 events, one write each", c, 100, 5, True) for c in connections]
    paced = Load("paced", "stream of 200 events, one every 5 ms", 64, 200, 5, True, 5000)
    return [*answers, *streams, paced]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server of this run. Its output goes to a file in the run's folder."""

    def __init__(self, folder: pathlib.Path, name: str, command: list[str], port: int):
        self.name, self.port = name, port
        self._log_path = folder / f"{name}.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait_until_ready(self, path: str):
        give_up = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < give_up and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.05)
        raise SystemExit(f"bench: {self.name} did not get ready:\n{self._log_path.read_text(errors='replace')}")

    def cpu_seconds(self) -> float:
        """Spent so far by the process, its threads and its children (nginx's workers)."""
        total, todo = 0, [self._process.pid]
        while todo:
            tasks = pathlib.Path(f"/proc/{todo.pop()}/task")
            for task in tasks.iterdir():
                total += int((task / "schedstat").read_text().split()[0])
                todo += [int(child) for child in (task / "children").read_text().split()]
        return total / 1e9

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def ask(port: int, load: Load) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/chat/completions", load.body(), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def check_answer(proxy: Process, load: Load):
    """What is measured must be right first: the status, every event, and the end."""
    status, body = ask(proxy.port, load)
    text = body.decode()
    if load.stream:
        chunks = re.findall(r"^data: (.*)$", text, re.MULTILINE)
        ended = bool(chunks) and chunks.pop() == "[DONE]"
        deltas = [choice["delta"] for chunk in chunks for choice in json.loads(chunk)["choices"]]
        contents = [delta["content"] for delta in deltas if delta.get("content")]
    else:
        ended = status == 200
        contents = [json.loads(text)["choices"][0]["message"]["content"]] if ended else []
    whole = len(contents) == load.units_per_answer and len("".join(contents)) == load.events * load.event_bytes
    if status != 200 or not ended or not whole:
        raise SystemExit(f"bench: {proxy.name} gave a wrong answer to {load.name}: {status} {text[:500]}")


def measure(proxy: Process, load: Load, seconds: int, script: pathlib.Path) -> dict:
    before = proxy.cpu_seconds()
    run = subprocess.run(
        ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "30s", "-s", script,
         f"http://127.0.0.1:{proxy.port}/v1/chat/completions"],
        capture_output=True, text=True, timeout=seconds + 60, check=True)
    cpu = proxy.cpu_seconds() - before
    result = json.loads(run.stdout.strip().splitlines()[-1])
    if result["errors"]:
        raise SystemExit(f"bench: {proxy.name} failed under {load.name}:\n{run.stdout}")
    if not result["requests"]:
        raise SystemExit(f"bench: no whole answer of {load.name} came through {proxy.name} in {seconds} s: "
                         "the machine is too busy to measure; more --seconds may help")
    units = result["requests"] * load.units_per_answer
    return {
        "per_second": units / (result["microseconds"] / 1e6),
        "cpu_ms_per_1000": cpu * 1e6 / units,
        "p50_ms": result["p50_us"] / 1e3,
        "p99_ms": result["p99_us"] / 1e3,
    }


def compare(servers: dict[str, Process], load: Load, rounds: int, seconds: int, folder: pathlib.Path) -> dict:
    """Rounds of both proxies, who goes first alternating, so that a slow moment hits both."""
    script = folder / f"{load.name}.lua"
    script.write_text(WRK_SCRIPT.format(body=load.body()))
    for server in servers.values():
        check_answer(server, load)
    direct = measure(servers["direct"], load, seconds, script)
    samples = {name: [] for name in PROXIES}
    for index in range(rounds):
        for name in PROXIES if index % 2 == 0 else PROXIES[::-1]:
            samples[name].append(measure(servers[name], load, seconds, script))
    result = {"load": dataclasses.asdict(load), "unit": load.unit, "direct_per_second": direct["per_second"]}
    for name in PROXIES:
        result[name] = {key: statistics.median(s[key] for s in samples[name]) for key in samples[name][0]}
    pairs = list(zip(samples["nginx"], samples["holdfast"]))
    for key in ("per_second", "cpu_ms_per_1000"):
        ratios = [ours[key] / theirs[key] for theirs, ours in pairs]
        result[f"{key}_ratio"] = statistics.median(ratios)
        result[f"{key}_ratios"] = ratios
    return result


def start_all(folder: pathlib.Path, build: pathlib.Path, access_log: bool,
              stack: contextlib.ExitStack) -> dict[str, Process]:
    def start(name: str, command: list[str], port: int, ready_path: str) -> Process:
        server = Process(folder, name, [str(word) for word in command], port)
        stack.callback(server.stop)
        server.wait_until_ready(ready_path)
        return server

    ports = {name: free_port() for name in ("direct", *PROXIES)}
    address = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    servers = {"direct": start("backend", [build / "holdfast_scripted_instance", "--listen", address["direct"]],
                               ports["direct"], "/readyz")}
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(
        folder=folder, backend=address["direct"], listen=address["nginx"],
        access_log=folder / "nginx.access.log" if access_log else "off"))
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    servers["nginx"] = start("nginx", [nginx, "-p", folder, "-e", folder / "nginx.error.log", "-c", config],
                             ports["nginx"], "/readyz")
    servers["holdfast"] = start(
        "holdfast",
        [build / "holdfast", "gateway", "--isolated", "--listen", address["holdfast"],
         "--instance", f"http://{address['direct']},kind=holdfast",
         "--set", f"log.level={'info' if access_log else 'warning'}"],
        ports["holdfast"], "/readyz")
    return servers


def machine() -> dict:
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)

    def version(command: list[str]) -> str:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        return (run.stdout + run.stderr).splitlines()[0]

    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
        "nginx": version([shutil.which("nginx") or "/usr/sbin/nginx", "-v"]),
        "wrk": version(["wrk", "-v"]).split(" Copyright")[0],
        "command": " ".join(sys.argv),
    }


def row(cells: list[str]) -> str:
    widths = (38, 6, 9, 9, 9, 7, 10, 10, 7)
    return " ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths)))


def print_result(result: dict):
    load, ours, theirs = result["load"], result["holdfast"], result["nginx"]
    print(row([f"{load['what']}, {result['unit']}", str(load["connections"]),
               f"{result['direct_per_second']:.0f}", f"{theirs['per_second']:.0f}", f"{ours['per_second']:.0f}",
               f"{result['per_second_ratio']:.2f}", f"{theirs['cpu_ms_per_1000']:.1f}",
               f"{ours['cpu_ms_per_1000']:.1f}", f"{result['cpu_ms_per_1000_ratio']:.2f}"]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="paired rounds of each load [7]")
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement [3]")
    parser.add_argument("--connections", default="1,16,64", help="clients at once [1,16,64]")
    parser.add_argument("--only", default="", help="answer, stream or paced; comma-separated")
    parser.add_argument("--access-log", action="store_true", help="both proxies write one, to a file")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="folder of the programs")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()

    wanted = options.only.split(",") if options.only else ["answer", "stream", "paced"]
    chosen = [load for load in loads([int(c) for c in options.connections.split(",")]) if load.name in wanted]
    about, results = machine(), []
    table = options.output == "table"
    # Ended from outside, the servers of the run still have to be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
    if table:
        for name, value in about.items():
            print(f"{name}: {value}")
        if about["load_average"] > about["cpus"] / 4:
            print("The machine is busy with other work: trust the ratios, and the CPU columns most.")
        print(row(["per second (medians)", "conns", "direct", "nginx", "holdfast", "ratio", "nginx CPU",
                   "holdf. CPU", "ratio"]), flush=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder, contextlib.ExitStack() as stack:
        servers = start_all(pathlib.Path(folder), options.build, options.access_log, stack)
        for load in chosen:
            results.append(compare(servers, load, options.rounds, options.seconds, pathlib.Path(folder)))
            if table:
                print_result(results[-1])
    if table:
        print("CPU: milliseconds of processor time of the proxy for 1000 requests or events.")
    else:
        print(json.dumps({"machine": about, "results": results}, indent=2))


if __name__ == "__main__":
    main()
