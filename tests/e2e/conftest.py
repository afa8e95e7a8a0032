"""Fixtures: one service that many tests share, and a factory for those that break theirs."""

import pathlib

import pytest

import service


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A service that no test disturbs."""
    with service.running(tmp_path_factory.mktemp("shared")) as target:
        yield target


@pytest.fixture
def start(tmp_path: pathlib.Path):
    """Starts services that the test may break; all are stopped at its end."""
    started = []

    def begin(*flags: str, instances: int = 2) -> service.Service:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        target = service.Service(folder, *flags, instances=instances)
        started.append(target)
        return target

    yield begin
    for target in started:
        target.stop()
