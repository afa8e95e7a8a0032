"""Kills workers under load and compares every answer, byte for byte, with an undisturbed run.

    make kill-test                                  200 kills with SIGKILL
    make kill-test ARGS="--signal STOP --kills 50"  hangs instead of deaths
    make kill-test ARGS="-- --weights q8 --set engine.kv_type=q8"
                                                    what follows -- are flags of `holdfast serve`

Prints failures, differences, and the longest gap that a client saw in a stream.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time

import load
import service


class Killer:
    """Sends a signal to a random worker about once per `pause` seconds."""

    def __init__(self, target: service.Service, kind: str, kills: int, pause: float, seed: int):
        self.target, self.kind, self.kills, self.pause = target, kind, kills, pause
        self.chance = random.Random(seed)
        self.done = 0

    async def run(self) -> None:
        while self.done < self.kills:
            await asyncio.sleep(self.pause * self.chance.uniform(0.5, 1.5))
            instances = await asyncio.to_thread(self.target.instances)
            alive = [i for i in instances if i["pid"] and i["state"] == "ready"]
            if alive:
                await self._strike(self.chance.choice(alive)["pid"])

    async def _strike(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL if self.kind == "KILL" else signal.SIGSTOP)
        except ProcessLookupError:
            return
        self.done += 1
        if self.kind == "STOP":
            await asyncio.sleep(self.chance.uniform(2.0, 4.0))
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass


async def torture(target: service.Service, bodies: list[dict], expected: list[load.Answer],
                  killer: Killer, concurrency: int) -> list[tuple[dict, load.Answer, load.Answer]]:
    """Asks `bodies` again and again until the killer is done: (body, answer, expected) each."""
    results = []
    task = asyncio.create_task(killer.run())
    last_line = time.monotonic()
    while not task.done():
        answers = await load.ask_all(target.url, bodies, concurrency)
        results.extend(zip(bodies, answers, expected))
        if time.monotonic() - last_line > 5:
            last_line = time.monotonic()
            print(f"  {killer.done} of {killer.kills} signals, {len(results)} answers", flush=True)
    await task
    return results


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the sorted values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(results, killer: Killer) -> int:
    """Prints the verdict and returns the number of bad answers."""
    failed = [(b, a) for b, a, _ in results if a.complaint()]
    differing = [(b, a, e) for b, a, e in results if not a.complaint() and a.essence() != e.essence()]
    for body, answer in failed[:5]:
        print("FAILED", body["messages"][0]["content"], "|", answer.complaint())
    for body, answer, expected in differing[:5]:
        print("DIFFERS", body, "\n  got     ", answer.essence(), "\n  expected", expected.essence())
    gaps = [a.longest_gap for b, a, _ in results if b["stream"] and not a.complaint()]
    print(f"{killer.done} x SIG{killer.kind}, {len(results)} answers: {len(failed)} failed, "
          f"{len(differing)} different; restarts seen: {sum(i['restarts'] for i in killer.target.instances())}, "
          f"answers carried over: {killer.target.metric('holdfast_failovers_total', guarantee='exact'):.0f}")
    print(f"longest gap in a stream: p50 {percentile(gaps, .5) * 1e3:.0f} ms, "
          f"p99 {percentile(gaps, .99) * 1e3:.0f} ms, max {max(gaps) * 1e3:.0f} ms")
    return len(failed) + len(differing)


async def run(arguments: argparse.Namespace) -> int:
    flags = [f"--threads={arguments.threads}"] if arguments.threads else []
    flags += arguments.flags
    with service.running(None, *flags, instances=arguments.instances) as target:
        bodies = load.questions(arguments.questions, arguments.seed)
        print(f"undisturbed: {len(bodies)} requests at concurrency {arguments.concurrency}", flush=True)
        expected = await load.ask_all(target.url, bodies, arguments.concurrency)
        bad = [a.complaint() for a in expected if a.complaint()]
        if bad:
            print("the undisturbed run failed:", bad[:3])
            return 1
        killer = Killer(target, arguments.signal, arguments.kills, arguments.pause, arguments.seed)
        print(f"disturbed: {arguments.kills} signals", flush=True)
        results = await torture(target, bodies, expected, killer, arguments.concurrency)
        return report(results, killer)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--signal", choices=["KILL", "STOP"], default="KILL")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between signals, on average")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("flags", nargs="*", metavar="-- FLAG", help="flags of `holdfast serve`")
    return 1 if asyncio.run(run(parser.parse_args())) else 0


if __name__ == "__main__":
    sys.exit(main())
