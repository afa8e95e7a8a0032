"""Static analysis with clang-tidy of every source file that changed since it was last clean.

A file is clean for as long as nothing that its analysis depends on changes: its own text, the
headers of src/ that it includes directly or through others, its compile command, .clang-tidy and
the version of clang-tidy. A stamp named by the hash of all these lies under build-check/tidy/. Arguments
limit the run to paths that begin with one of them (`scripts/check_tidy.py src/common/http`).
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD, STAMPS = ROOT / "build-check", ROOT / "build-check" / "tidy"
TIDY = "clang-tidy-19"
# The analyzer cannot follow coroutines: it takes the frames of Asio's own for uninitialised memory.
# In tests every expectation splits its paths: it takes minutes for a file, and finds nothing there.
WITHOUT_ANALYZER = ["--checks=-clang-analyzer-*"]


def includes(path: pathlib.Path, known: dict[pathlib.Path, list[pathlib.Path]]) -> list[pathlib.Path]:
    """The files of src/ that one file includes itself."""
    if path not in known:
        named = re.findall(r'^\s*#\s*include "([^"]+)"', path.read_text(), re.M)
        known[path] = [file for name in named if (file := ROOT / "src" / name).exists()]
    return known[path]


def closure(path: pathlib.Path, known: dict) -> list[pathlib.Path]:
    """The file and all of src/ that it includes, directly or through others."""
    seen, todo = {path}, [path]
    while todo:
        for file in includes(todo.pop(), known):
            if file not in seen:
                seen.add(file)
                todo.append(file)
    return sorted(seen)


def uses_coroutines(files: list[pathlib.Path]) -> bool:
    return any("<boost/asio/" in file.read_text() for file in files)


def stamp_of(files: list[pathlib.Path], command: str, common: bytes) -> pathlib.Path:
    digest = hashlib.sha256(common + command.encode())
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return STAMPS / (digest.hexdigest()[:32] + ".clean")


def analyze(path: pathlib.Path, files: list[pathlib.Path], stamp: pathlib.Path) -> str | None:
    """What clang-tidy says of one file, or None if it is clean."""
    is_test = path.stem.endswith(("_test", "_bench", "_fuzz"))
    options = WITHOUT_ANALYZER if is_test or uses_coroutines(files) else []
    done = subprocess.run(
        [TIDY, "-p", str(BUILD), "--quiet", *options, str(path)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )
    if done.returncode == 0:
        stamp.touch()
        return None
    return done.stdout.strip() or done.stderr.strip()


def main() -> int:
    STAMPS.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    common = version + (ROOT / ".clang-tidy").read_bytes() + pathlib.Path(__file__).read_bytes()
    known: dict[pathlib.Path, list[pathlib.Path]] = {}
    total, todo, stamps = 0, [], set()
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        place = path.relative_to(ROOT).as_posix()
        if sys.argv[1:] and not place.startswith(tuple(sys.argv[1:])):
            continue
        total += 1
        files = closure(path, known)
        stamp = stamp_of(files, entry["command"], common)
        stamps.add(stamp)
        if not stamp.exists():
            todo.append((path, files, stamp))
    print(f"tidy: {len(todo)} of {total} files changed since they were clean", flush=True)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for found in pool.map(lambda work: analyze(*work), todo):
            if found is not None:
                failed += 1
                print(found.replace(str(ROOT) + "/", ""), flush=True)
    if not sys.argv[1:]:
        for old in set(STAMPS.glob("*.clean")) - stamps:
            old.unlink()
    print(f"tidy: {total} files, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
