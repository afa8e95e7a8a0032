"""Processes die and hang; clients do not notice."""

import asyncio
import json
import os
import resource
import signal
import socket
import threading
import time

import aiohttp
import kill_test
import load
import service


def undisturbed(target, bodies):
    answers = asyncio.run(load.ask_all(target.url, bodies, 16))
    assert [a.complaint() for a in answers if a.complaint()] == []
    return answers


def test_killed_workers_are_not_noticed(start):
    target = start().wait_all_ready()
    bodies = load.questions(48, seed=3)
    expected = undisturbed(target, bodies)
    killer = kill_test.Killer(target, "KILL", kills=8, pause=0.7, seed=3)
    results = asyncio.run(kill_test.torture(target, bodies, expected, killer, 16))
    assert [(b, a.complaint()) for b, a, _ in results if a.complaint()] == []
    assert [(b, a.essence(), e.essence()) for b, a, e in results if a.essence() != e.essence()] == []
    assert {a.resume for _, a, _ in results} == {"exact"}
    assert target.metric("holdfast_failovers_total", guarantee="exact") > 0
    assert sum(i["restarts"] for i in target.instances()) >= 1


def test_begun_streams_wait_for_room_when_a_death_leaves_too_little(start):
    target = start("--set", "engine.running_max=4", "--set", "engine.waiting_max=1", "--set", "keeper.backoff_first=1s",
                   "--set", "worker.tokens_per_second=100").wait_all_ready()
    bodies = [{"model": "tiny-r1", "messages": [{"role": "user", "content": f"What is {n} + 5869?"}], "seed": n,
               "temperature": 0.6, "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True,
               "max_tokens": 200} for n in range(8)]
    expected = asyncio.run(load.ask_all(target.url, bodies, 2))
    assert [e.complaint() for e in expected if e.complaint()] == []

    async def ask_and_kill():
        asking = []
        async with aiohttp.ClientSession() as session:
            for body in bodies:
                answer = load.Answer()
                asking.append(asyncio.create_task(load.ask(session, target.url, body, answer)))
                while not answer.reasoning and not asking[-1].done():
                    await asyncio.sleep(0.005)
            assert not any(task.done() for task in asking)
            os.kill((await asyncio.to_thread(target.instances))[0]["pid"], signal.SIGKILL)
            return await asyncio.gather(*asking)

    answers = asyncio.run(ask_and_kill())
    assert [a.complaint() for a in answers if a.complaint()] == []
    assert [a.essence() for a in answers] == [e.essence() for e in expected]
    assert target.metric("holdfast_retries_total", reason="overloaded") > 0


def test_hung_workers_are_noticed_by_lack_of_progress_and_do_no_harm_when_they_wake(start):
    target = start().wait_all_ready()
    bodies = load.questions(48, seed=4)
    expected = undisturbed(target, bodies)
    killer = kill_test.Killer(target, "STOP", kills=3, pause=1.0, seed=4)
    results = asyncio.run(kill_test.torture(target, bodies, expected, killer, 16))
    assert [(b, a.complaint()) for b, a, _ in results if a.complaint()] == []
    assert [(b, a.essence(), e.essence()) for b, a, e in results if a.essence() != e.essence()] == []
    assert target.metric("holdfast_failovers_total", guarantee="exact") > 0
    service.wait_until(lambda: all(i["state"] == "ready" for i in target.instances()), "all are ready again")


def test_a_long_prompt_and_a_full_batch_eject_nobody(start):
    target = start().wait_all_ready()
    pids = {i["pid"] for i in target.instances()}
    long_prompt = "What is 12 + 34? " * 400
    bodies = [{"model": "tiny-r1", "messages": [{"role": "user", "content": long_prompt}], "max_tokens": 50,
               "seed": n} for n in range(4)] + load.questions(60, seed=5)
    stop = threading.Event()

    def burn():
        while not stop.is_set():
            sum(range(10_000))

    burners = [threading.Thread(target=burn) for _ in range(2)]
    for burner in burners:
        burner.start()
    try:
        answers = asyncio.run(load.ask_all(target.url, bodies, 64))
    finally:
        stop.set()
        for burner in burners:
            burner.join()
    assert [a.complaint() for a in answers if a.complaint() and "no usage" not in a.complaint()] == []
    assert {i["pid"] for i in target.instances()} == pids
    assert target.metric("holdfast_ejections_total") == 0


def test_without_workers_requests_wait_and_then_get_a_clear_503(start):
    target = start("--set", "keeper.backoff_first=20s", "--set", "keeper.backoff_max=20s").wait_all_ready()
    body = {"model": "tiny-r1", "messages": [{"role": "user", "content": "What is 1 + 2?"}]}
    for instance in target.instances():
        os.kill(instance["pid"], signal.SIGKILL)
    service.wait_until(lambda: all(i["state"] == "down" for i in target.instances()), "all are down")
    assert service.get(target.url + "/readyz")[0] == 503
    started = time.monotonic()
    status, headers, raw = service.post(target.url + "/v1/chat/completions", body,
                                        {"x-holdfast-timeout-ms": "1500"})
    assert time.monotonic() - started >= 1.4
    assert status == 503 and 0 < int(headers["retry-after"]) < 60
    error = json.loads(raw)["error"]
    assert error["code"] == "no_ready_instance" and "ready" in error["message"]
    # A patient request is answered as soon as a worker is back.
    status, _, raw = service.post(target.url + "/v1/chat/completions", body)
    assert status == 200 and json.loads(raw)["choices"][0]["message"]["content"]


def test_nothing_is_left_when_the_keeper_is_killed(start):
    target = start().wait_all_ready()
    pids = [i["pid"] for i in target.instances()] + [json.loads(service.get(target.url + "/admin/v1/status")[2])["pid"]]
    target.process.kill()
    target.process.wait(timeout=60)

    def gone(pid):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    service.wait_until(lambda: all(gone(pid) for pid in pids), "all children are gone")


def test_sigterm_lets_running_answers_end(start):
    target = start().wait_all_ready()
    bodies = load.questions(8, seed=6)
    expected = undisturbed(target, bodies)

    def stop():
        service.wait_until(lambda: target.metric("holdfast_requests_running") > 0, "requests run")
        target.process.send_signal(signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    answers = asyncio.run(load.ask_all(target.url, bodies, 8))
    stopper.join()
    finished = [(a, e) for a, e in zip(answers, expected) if not a.complaint()]
    refused = [a.complaint() for a in answers if a.complaint()]
    assert finished and all(a.essence() == e.essence() for a, e in finished)
    assert all("Connect" in r or "503" in r for r in refused), refused
    assert target.process.wait(60) == 0


def test_a_gateway_that_dies_is_replaced_on_the_same_port(start):
    target = start().wait_all_ready()
    pid = json.loads(service.get(target.url + "/admin/v1/status")[2])["pid"]
    os.kill(pid, signal.SIGKILL)
    # The listening socket stayed open: this connection waits instead of being refused.
    with socket.create_connection(("127.0.0.1", target.port), timeout=60):
        pass
    service.wait_until(lambda: target.answers("/readyz"), "a new gateway answers")
    assert json.loads(service.get(target.url + "/admin/v1/status")[2])["pid"] != pid
    status, _, _ = service.post(target.url + "/v1/chat/completions",
                                {"model": "tiny-r1", "messages": [{"role": "user", "content": "Who are you?"}]})
    assert status == 200


def test_two_services_run_side_by_side(shared, start):
    other = start(instances=1).wait_all_ready()
    assert {i["pid"] for i in other.instances()}.isdisjoint(i["pid"] for i in shared.instances())
    second = service.Service(other.folder, instances=1)
    assert second.process.wait(60) != 0
    assert "state" in second.log.read_text()


def test_with_few_file_descriptors_clients_take_turns(start):
    target = start().wait_all_ready()
    bodies = load.questions(80, seed=8)
    expected = undisturbed(target, bodies)
    # The next gateway inherits this from the keeper.
    resource.prlimit(target.process.pid, resource.RLIMIT_NOFILE, (60, 60))
    os.kill(json.loads(service.get(target.url + "/admin/v1/status")[2])["pid"], signal.SIGKILL)
    service.wait_until(lambda: target.answers("/readyz"), "a new gateway answers")
    answers = asyncio.run(load.ask_all(target.url, bodies, 40))
    assert [a.complaint() for a in answers if a.complaint()] == []
    assert [a.essence() for a in answers] == [e.essence() for e in expected]
