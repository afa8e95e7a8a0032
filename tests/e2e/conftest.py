"""Fixtures: one service that many tests share, and a factory for those that break theirs."""

import pathlib
import signal

import pytest

import service


def pytest_configure() -> None:
    """Whoever starts the tests may ignore signals (nohup, and shells for what runs in the background), and
    children would inherit that. A handler is not inherited: children begin with what is usual."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(ignored) == signal.SIG_IGN:
            signal.signal(ignored, lambda *_: None)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A service that no test disturbs."""
    with service.running(tmp_path_factory.mktemp("shared")) as target:
        yield target


@pytest.fixture(scope="session")
def gguf(tmp_path_factory):
    """The bundled model as GGUF files, by the type of their weights."""
    folder = tmp_path_factory.mktemp("gguf")
    made = {}

    def path(kind: str) -> pathlib.Path:
        if kind not in made:
            file = folder / f"tiny-{kind}.gguf"
            done = service.command("quantize", service.MODEL, file, "--type", kind)
            assert done.returncode == 0, done.stderr
            made[kind] = file
        return made[kind]

    return path


@pytest.fixture
def start(tmp_path: pathlib.Path):
    """Starts services that the test may break; all are stopped at its end."""
    started = []

    def begin(*flags: str, instances: int = 2, models: tuple = (service.MODEL,)) -> service.Service:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        target = service.Service(folder, *flags, instances=instances, models=models)
        started.append(target)
        return target

    yield begin
    for target in started:
        target.stop()
