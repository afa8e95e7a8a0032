"""The commands as people and scripts use them: answers, JSON, wrong arguments, Ctrl-C, closed pipes."""

import json
import os
import signal
import subprocess
import time

import pytest

import service

TINY = str(service.MODEL)
PERF = ("perf", "--shape", "tiny", "-p", "16", "-b", "1", "-n", "2", "-r", "1", "-t", "1")
PLAN = ("plan", "--device", "RTX 4090")


def has_bars(text: str) -> bool:
    return "\r" in text or "\x1b" in text


def test_json_has_its_members_and_nothing_else_is_said():
    plan = service.command(*PLAN, "-o", "json")
    perf = service.command(*PERF, "-o", "json")
    models = service.command("models", "-o", "json")
    evaluated = service.command("eval", TINY, "--weights", "q8_0", "--limit", "2", "-t", "1", "-o", "json")
    for done in (plan, perf, models, evaluated):
        assert (done.returncode, done.stderr) == (0, ""), done
        assert not has_bars(done.stdout)
    assert {"hardware", "context", "kv", "models"} <= set(json.loads(plan.stdout))
    assert {"model", "weights", "isa", "processor", "runs"} <= set(json.loads(perf.stdout))
    assert isinstance(json.loads(models.stdout), list)
    assert {"corpus", "reference", "models", "stopped"} <= set(json.loads(evaluated.stdout))


@pytest.mark.parametrize("kind", ["bf16", "f16", "q8_0", "q4_0"])
def test_quantize_writes_a_model_that_eval_and_plan_read(tmp_path, kind):
    file = tmp_path / "out.gguf"
    done = service.command("quantize", TINY, file, "--type", kind)
    assert done.returncode == 0 and done.stderr == "" and not has_bars(done.stdout)
    assert "bits per weight" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["out.gguf"]
    again = service.command("quantize", TINY, file, "--type", kind)
    assert again.returncode == 1 and "--force" in again.stderr
    assert service.command("quantize", TINY, file, "--type", kind, "--force").returncode == 0
    scored = service.command("eval", TINY, "--against", file, "--limit", "3", "-t", "1", "-o", "json")
    assert scored.returncode == 0, scored.stderr
    planned = service.command("plan", file, "--device", "RTX 4090")
    assert planned.returncode == 0 and kind in planned.stdout


@pytest.mark.parametrize("arguments, words", [
    (("quantize", TINY, "OUT", "--type", "q9"), ["--type", "q9", "q8_0"]),
    (("quantize", TINY, "OUT"), ["--type"]),
    (("quantize", TINY, "OUT", "--type", "q8_0", "--threads", "0"), ["--threads"]),
    (("quantize", TINY, "OUT", "--type", "q8_0", "--head", "q9"), ["--head", "q9"]),
    (("quantize", TINY, "OUT", "--type", "q8_0", "--had", "q8_0"), ["--had", "--head"]),
    (("perf",), ["MODEL", "--shape"]),
    (("perf", "--shape", "huge"), ["--shape", "r1-1.5b"]),
    (("perf", "--shape", "tiny", "-t", "0"), ["--threads"]),
    (("perf", "--shape", "tiny", "-r", "0"), ["--rounds"]),
    (("perf", "--shape", "tiny", "-n", "0"), ["--tokens"]),
    (("perf", "--shape", "tiny", "-b", "-1"), ["--batches"]),
    (("perf", "--shape", "tiny", "-b", "99999999999"), ["--batches"]),
    (("perf", "--shape", "tiny", "-p", "4294967295"), ["--prompts"]),
    (("perf", "--shape", "tiny", "-o", "xml"), ["--output"]),
    (("plan", "--device", "Voodoo 2"), ["device", "Voodoo 2", "--bandwidth", "H100"]),
    (("plan", "--device", "H100", "--memory", "80"), ["--memory", "unit"]),
    (("plan", "--device", "H100", "--sequences", "0"), ["--sequences"]),
    (("plan", "--device", "H100", "--weights", "int4"), ["--weights"]),
    (("eval", TINY, "--weights", "q9"), ["--weights"]),
    (("eval", TINY, "--limit", "-1"), ["--limit"]),
    (("pull", "no-slash"), ["no-slash", "ORG/NAME"]),
    (("pull", "a/b", "--jobs", "0"), ["--jobs"]),
    (("models", "remove"), ["MODEL"]),
    (("models", "-o", "xml"), ["--output"]),
    (("serve", "--weights", "q9"), ["engine.weights", "q8_0"]),
    (("serve", "--set", "engine.kv_type=q9"), ["engine.kv_type", "bf16"]),
    (("srve",), ["srve", "serve"]),
])
def test_a_wrong_argument_is_named_with_what_would_do(tmp_path, arguments, words):
    done = service.command(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stderr.startswith("holdfast: ") and not has_bars(done.stderr)
    assert list(tmp_path.iterdir()) == []


LONG = {
    "perf": ("perf", "--shape", "tiny", "-r", "1000000", "-p", "128", "-b", "1", "-n", "2", "-t", "1"),
    "eval": ("eval", TINY, "--weights", "f32,q8_0", "-t", "1"),
}


def interrupt(*arguments: str, by: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that gets a signal as soon as it takes it for its own. One that
    never does is killed."""
    process = subprocess.Popen([str(service.BINARY), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=service.clean_environment())
    bit = 1 << (by - 1)
    end = time.monotonic() + 120
    while process.poll() is None:  # without a pause: the work may be short
        if time.monotonic() > end:
            process.kill()
            raise AssertionError(f"never took {by.name} for its own: {process.communicate()}")
        with open(f"/proc/{process.pid}/status") as status:
            caught = next((line for line in status if line.startswith("SigCgt")), "SigCgt: 0")
        if int(caught.split()[1], 16) & bit:
            process.send_signal(by)
            break
    try:
        output, error = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output, error


@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_shows_what_there_is(name):
    code, output, error = interrupt(*LONG[name])
    assert code == 130
    assert not has_bars(output + error)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_leaves_no_half_file(tmp_path, by):
    model, out = tmp_path / "big.gguf", tmp_path / "out.gguf"
    assert service.command("perf", "--shape", "tiny", "--write", model).returncode == 0
    code, output, error = interrupt("quantize", str(model), str(out), "--type", "q5_k", "--threads", "1", by=by)
    assert (code, output) == (128 + by, ""), error
    assert f"interrupted; {out} was not written" in error
    assert [p.name for p in tmp_path.iterdir()] == ["big.gguf"]


@pytest.mark.parametrize("arguments", [("--help",), ("config", "reference"), PLAN, PERF, ("models",)])
def test_nobody_reads_the_output(arguments):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen([str(service.BINARY), *arguments], stdout=write, stderr=subprocess.PIPE, text=True,
                               env=service.clean_environment())
    os.close(write)
    error = process.communicate(timeout=60)[1]
    assert process.returncode in (0, -signal.SIGPIPE) and error == ""


def test_every_help_is_its_own_and_every_setting_is_explained():
    text = service.command("--help").stdout
    assert "Start here" in text
    commands = [line.split()[0] for line in text.split("Subcommands:")[1].split("\n\n")[0].splitlines() if line.strip()]
    assert {"serve", "pull", "models", "plan", "perf", "eval", "quantize"} <= set(commands)
    for command in commands:
        shown = service.command(command, "--help")
        assert shown.returncode == 0 and f"holdfast {command}" in shown.stdout
        assert "Start here" not in shown.stdout and " TEXT " not in shown.stdout.split("Options:")[0]
    rows = [line.split("|") for line in service.command("config", "reference").stdout.splitlines()[2:]]
    named = [row[1].strip(" `") for row in rows]
    assert {"engine.weights", "engine.kv_type", "engine.numerics", "engine.speculation_tokens_max",
            "worker.template"} <= set(named)
    assert all(row[6].strip() for row in rows)
