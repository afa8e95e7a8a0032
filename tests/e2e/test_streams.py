"""Clients that leave, that do not read, and that are many."""

import asyncio
import json
import resource
import socket

import aiohttp

import load
import service

ENDLESS = {"model": "tiny-r1", "messages": [{"role": "user", "content": "What is 3478 + 5869?"}], "stream": True,
           "ignore_eos": True, "max_tokens": 7000, "temperature": 0.6}


def request_bytes(body: dict) -> bytes:
    data = json.dumps(body).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(data)) + data


def worker_metric(target, name: str) -> float:
    return sum(service.metric(service.get(i["url"] + "/metrics")[2].decode(), name) for i in target.instances())


def begin(target, body: dict) -> socket.socket:
    """A stream that has begun."""
    connection = socket.create_connection(("127.0.0.1", target.port), timeout=120)
    connection.sendall(request_bytes(body))
    assert b"200 OK" in connection.recv(4096)
    return connection


def test_a_client_that_leaves_frees_its_slot(start):
    target = start(instances=1).wait_all_ready()
    connection = begin(target, ENDLESS)
    service.wait_until(lambda: worker_metric(target, "holdfast_requests_running") == 1, "it runs")
    generated = worker_metric(target, "holdfast_generation_tokens_total")
    connection.close()
    service.wait_until(lambda: worker_metric(target, "holdfast_requests_running") == 0, "its slot is free")
    assert worker_metric(target, "holdfast_generation_tokens_total") - generated < ENDLESS["max_tokens"] / 2


def test_a_client_that_does_not_read_does_not_slow_the_others(start):
    target = start(instances=1).wait_all_ready()
    bodies = load.questions(16, seed=9)
    expected = asyncio.run(load.ask_all(target.url, bodies, 8))
    stalled = [begin(target, {**ENDLESS, "seed": n}) for n in range(8)]
    answers = asyncio.run(load.ask_all(target.url, bodies, 8))
    assert [a.complaint() for a in answers if a.complaint()] == []
    assert [a.essence() for a in answers] == [e.essence() for e in expected]
    for connection in stalled:
        connection.close()


def resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_a_thousand_idle_streams_cost_little(start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    # One choice runs at a time, so all other streams wait in the worker's queue.
    target = start("--set", "engine.running_max=1", "--set", "engine.waiting_max=2000", instances=1).wait_all_ready()
    gateway = json.loads(service.get(target.url + "/admin/v1/status")[2])["pid"]
    before = resident_kib(gateway)
    streams = []
    data = request_bytes({**ENDLESS, "seed": 1})
    for _ in range(1000):
        connection = socket.create_connection(("127.0.0.1", target.port), timeout=120)
        connection.sendall(data)
        streams.append(connection)
    service.wait_until(lambda: target.metric("holdfast_requests_running") == 1000, "1000 requests are under way")
    grown = (resident_kib(gateway) - before) / 1000
    for connection in streams:
        connection.close()
    service.wait_until(lambda: target.metric("holdfast_requests_running") == 0, "all are gone")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert grown < 64, f"{grown:.1f} KiB a stream"
