"""Breaks promises of the code on purpose, one at a time, and asks the room's tests whether they notice.

    make mutate                            all of scripts/mutations.toml
    make mutate ARGS="service/fleet"       those whose file begins with it

Works on a copy of the tree in build-mutate/. Prints a table of verdicts, and writes it to docs/mutations.md
when all mutations were tried. Fails unless every one was noticed.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIST = ROOT / "scripts" / "mutations.toml"
TABLE = ROOT / "docs" / "mutations.md"
TREE = ROOT / "build-mutate" / "tree"
BUILD = ROOT / "build-mutate" / "build"
TEST_SECONDS_MAX = 600  # a mutation that makes a test wait for ever is noticed, too


def copy_tree() -> None:
    """Makes the copy equal to the working tree; what is equal already keeps its time stamps."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, TREE / name
        if source.is_file() and not (target.is_file() and source.read_bytes() == target.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            target.touch()


def program_of(file: str) -> str:
    """The test program of the room that a file of src/ lies in."""
    room = pathlib.PurePath(file).parent.as_posix().split("/", 1)[1]
    return room.replace("/", "_") + "_test"


def mutated(text: str, mutation: dict) -> str:
    """The text with the promise broken. The pattern must fit one place."""
    count = text.count(mutation["from"])
    if count != 1:
        sys.exit(f"mutate: {mutation['file']}: {mutation['from']!r} fits {count} places, not one")
    return text.replace(mutation["from"], mutation["to"])


def build(program: str) -> str | None:
    """Nothing, or what the compiler said."""
    done = subprocess.run(["ninja", "-C", str(BUILD), program], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stdout[-2000:]


def test(program: str, only: str) -> tuple[bool, str]:
    """Whether all tests pass, and the first one that does not."""
    try:
        done = subprocess.run([BUILD / program, f"--gtest_filter={only}", "--gtest_fail_fast"], capture_output=True,
                              text=True, errors="replace", timeout=TEST_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        return False, "never ended"
    if done.returncode == 0:
        return True, ""
    failed = re.search(r"^\[  FAILED  \] ([\w./]+)", done.stdout, re.M)
    running = re.findall(r"^\[ RUN      \] ([\w./]+)", done.stdout, re.M)
    return False, failed[1] if failed else f"died in {running[-1] if running else 'start'}"


def verdict_of(mutation: dict) -> tuple[str, str]:
    """The verdict on one mutation, and the test that noticed it. The copy is whole again afterwards."""
    path = TREE / "src" / mutation["file"]
    whole = path.read_text()
    path.write_text(mutated(whole, mutation))
    try:
        if said := build(program_of(mutation["file"])):
            return "does not compile", said.strip().splitlines()[-1]
        passed, who = test(program_of(mutation["file"]), mutation.get("test", "*"))
        return ("NOT NOTICED", "") if passed else ("noticed", who)
    finally:
        path.write_text(whole)


def unbroken(mutations: list[dict]) -> None:
    """Without a mutation every test passes: otherwise no verdict means anything."""
    for program, only in sorted({(program_of(m["file"]), m.get("test", "*")) for m in mutations}):
        if said := build(program):
            sys.exit(f"mutate: {program} does not build:\n{said}")
        passed, who = test(program, only)
        if not passed:
            sys.exit(f"mutate: {program} fails without any mutation: {who}")


def table(rows: list[tuple]) -> str:
    lines = ["| file | what is broken | verdict | first test that notices |", "|---|---|---|---|"]
    lines += [f"| `{file}` | {promise} | {verdict} | {who} |" for file, promise, verdict, who in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    everything = tomllib.loads(LIST.read_text())["mutation"]
    chosen = [m for m in everything if m["file"].startswith(tuple(sys.argv[1:]) or "")]
    copy_tree()
    for mutation in chosen:
        mutated((TREE / "src" / mutation["file"]).read_text(), mutation)
    subprocess.run(["cmake", "--preset", "release", "-B", str(BUILD)], cwd=TREE, stdout=subprocess.DEVNULL, check=True)
    unbroken(chosen)
    rows = []
    for mutation in chosen:
        verdict, who = verdict_of(mutation)
        rows.append((mutation["file"], mutation["promise"], verdict, who))
        print(f"mutate: {verdict}: {mutation['file']}: {mutation['promise']} {who}", flush=True)
    print(table(rows))
    if len(chosen) == len(everything):
        TABLE.write_text("# Mutations\n\nWritten by `make mutate` (scripts/mutate.py) from scripts/mutations.toml.\n\n"
                         + table(rows))
    missed = [row for row in rows if row[2] != "noticed"]
    print(f"mutate: {len(rows) - len(missed)} of {len(rows)} noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
