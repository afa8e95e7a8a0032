"""Starts a real Holdfast service for a test and looks into it, as an operator would."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TESTED_BINARY", ROOT / "build" / "holdfast"))
MODEL = ROOT / "models" / "tiny-r1"


def free_port() -> int:
    """A TCP port on loopback that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what: str, seconds: float = 120.0):
    """Polls `condition` until it gives something true and returns that. A safety net, not a limit
    under test: it only keeps a broken run from hanging."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


def get(url: str, timeout: float = 30.0) -> tuple[int, dict, bytes]:
    """Status, headers (lower case) and body of a GET."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("GET", "/" + path)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def post(url: str, body, headers: dict | None = None, timeout: float = 120.0):
    """Status, headers (lower case) and body of a POST; `body` is bytes or goes as JSON."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=timeout)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with contextlib.closing(connection):
        connection.request("POST", "/" + path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def clean_environment() -> dict:
    """This process's environment without Holdfast's own variables."""
    return {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}


def command(*arguments: str, timeout: float = 120.0, **options) -> subprocess.CompletedProcess:
    """Runs one `holdfast` command to its end."""
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          env=clean_environment(), **options)


class Process:
    """One `holdfast` command that answers HTTP at `url`."""

    def __init__(self, command: list[str], url: str, log: pathlib.Path, **options):
        self.url = url
        self.log = log
        self._output = open(log, "wb")
        self.process = subprocess.Popen(
            [str(BINARY), *command], stdout=self._output, stderr=subprocess.STDOUT, env=clean_environment(), **options
        )

    def answers(self, path: str, status: int = 200) -> bool:
        """True if GET `path` gives `status` right now."""
        if self.process.poll() is not None:
            raise AssertionError(f"process ended with {self.process.returncode}:\n{self.log.read_text()}")
        try:
            return get(self.url + path, timeout=10)[0] == status
        except OSError:
            return False

    def wait_ready(self) -> "Process":
        wait_until(lambda: self.answers("/readyz"), f"{self.url} is ready")
        return self

    def stop(self) -> int:
        """SIGTERM, then the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("did not stop on SIGTERM:\n" + self.log.read_text()) from None
        self._output.close()
        return self.process.returncode


class Service(Process):
    """`holdfast serve` with gateway and workers."""

    def __init__(self, folder: pathlib.Path, *flags: str, instances: int = 2, models: tuple = (MODEL,)):
        self.folder = folder
        self.port = free_port()
        super().__init__(
            ["serve", "--listen", f"127.0.0.1:{self.port}", "--state-dir", str(folder / "state"),
             *(f"--model={model}" for model in models), "--instances", str(instances), *flags],
            f"http://127.0.0.1:{self.port}", folder / "serve.log",
        )

    def instances(self) -> list[dict]:
        """The gateway's view of every instance."""
        return json.loads(get(self.url + "/admin/v1/status")[2])["instances"]

    def wait_all_ready(self) -> "Service":
        self.wait_ready()
        wait_until(lambda: all(i["state"] == "ready" for i in self.instances()), "all instances are ready")
        return self

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's series that carry these labels, from the gateway."""
        return metric(get(self.url + "/metrics")[2].decode(), name, **labels)


def metric(text: str, name: str, **labels: str) -> float:
    """Sum of the series of `name` with these labels in Prometheus text."""
    total = 0.0
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        series, _, rest = head.partition("{")
        if series == name and all(f'{k}="{v}"' in rest for k, v in labels.items()):
            total += float(value)
    return total


@contextlib.contextmanager
def running(folder: pathlib.Path | None = None, *flags: str, instances: int = 2):
    """A service that is ready on entry and stopped on exit."""
    with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
        service = Service(pathlib.Path(folder or scratch), *flags, instances=instances)
        try:
            yield service.wait_all_ready()
        finally:
            service.stop()
