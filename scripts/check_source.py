"""Style as a test: arrows between rooms, the coroutine rule, lengths. Prints file:line: reason.

Lengths of files and functions are warnings, everything else is an error.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
FILE_LINES_MAX, FUNCTION_LINES_MAX, COLUMNS_MAX = 600, 70, 100
# The only rooms that may read or write JSON, beside the readers of a model's folder.
JSON_ROOMS = {"dialect", "config", "admin", "cli", "tensor", "text", "fleet", "worker"}


def declared_rooms() -> dict[str, tuple[set[str], set[str]]]:
    """Room name to the rooms that its sources, and additionally its tests, may include from."""
    rooms = {}
    for listing in sorted(SRC.rglob("CMakeLists.txt")):
        text = re.sub(r"#.*", "", listing.read_text())
        for call in re.findall(r"holdfast_room\(([^)]*)\)", text):
            words = call.split()
            groups: dict[str, set[str]] = {}
            key = ""
            for word in words[1:]:
                if word in ("USES", "LINKS", "TEST_USES"):
                    key = word
                else:
                    groups.setdefault(key, set()).add(word)
            rooms[words[0]] = (groups.get("USES", set()), groups.get("TEST_USES", set()))
    return rooms


def room_of(path: str, rooms) -> str | None:
    """The room that a path relative to src/ lies in: the longest room name that fits."""
    fitting = [room for room in rooms if path.startswith(room + "/")]
    return max(fitting, key=len, default=None)


def find_circle(rooms) -> list[str] | None:
    """A chain of rooms that leads back to its start, or None."""
    def visit(room, chain):
        if room in chain:
            return [*chain[chain.index(room):], room]
        for used in rooms[room][0]:
            if used in rooms and (circle := visit(used, [*chain, room])):
                return circle
        return None

    for room in rooms:
        if circle := visit(room, []):
            return circle
    return None


def reachable(room: str, rooms) -> set[str]:
    """All rooms that `room` uses, directly or through others: their headers come along."""
    seen, todo = set(), [room]
    while todo:
        for used in rooms.get(todo.pop(), (set(), set()))[0]:
            if used not in seen:
                seen.add(used)
                todo.append(used)
    return seen


def check_arrows(file: pathlib.Path, rooms) -> list[str]:
    relative = file.relative_to(SRC).as_posix()
    room = room_of(relative, rooms)
    if room is None:
        return [f"{file}:1: this folder is no room"]
    allowed = {room} | rooms[room][0]
    if re.search(r"_(test|bench|fuzz)\.cpp$|/testing/", relative):
        allowed |= rooms[room][1]
    problems = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        found = re.match(r'#include "([^"]+)"', line)
        if not found:
            if "simdjson" in line and line.startswith("#include") and room not in JSON_ROOMS:
                problems.append(f"{file}:{number}: JSON is not this room's business")
            continue
        target = room_of(found[1], rooms)
        if target is None:
            problems.append(f"{file}:{number}: \"{found[1]}\" is in no room")
        elif target not in allowed:
            problems.append(f"{file}:{number}: room {room} does not declare that it uses {target}")
    return problems


def check_coroutines(file: pathlib.Path) -> list[str]:
    """No aggregate `Type{…}` and no capturing lambda in a statement with co_await."""
    problems = []
    text = re.sub(r"//[^\n]*", "", file.read_text())
    for found in re.finditer(r"co_await[^;{}]*?(\[[^\]\n]*[\w&=][^\]\n]*\]\s*(\([^)]*\))?\s*(mutable\s*)?\{|\b[A-Z]\w*\{)", text):
        statement = found[0]
        if "co_await" in statement:
            line = text[: found.start()].count("\n") + 1
            problems.append(f"{file}:{line}: name this temporary before co_await (see CONTRIBUTING.md)")
    return problems


def check_lengths(file: pathlib.Path) -> list[str]:
    lines = file.read_text().splitlines()
    warnings = []
    if len(lines) > FILE_LINES_MAX:
        warnings.append(f"{file}:1: {len(lines)} lines")
    start = None
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            warnings.append(f"{file}:{number}: {len(line)} columns")
        if re.match(r"(?!namespace|struct|class|enum|extern|union)\S.*\{$|    \S.*\) (const |override |noexcept )*\{$", line):
            start = number if start is None or not line.startswith(" ") else start
        if line == "}" and start is not None:
            if number - start + 1 > FUNCTION_LINES_MAX:
                warnings.append(f"{file}:{start}: a function of {number - start + 1} lines")
            start = None
    return warnings


def main() -> int:
    rooms = declared_rooms()
    problems, warnings = [], []
    if circle := find_circle(rooms):
        problems.append("src: circle of rooms: " + " -> ".join(circle))
    for room, forbidden in (("gateway", "engine"), ("engine", "gateway"), ("keeper", "http"), ("keeper", "model")):
        if room in rooms and forbidden in reachable(room, rooms):
            problems.append(f"src/{room}: must not see {forbidden}")
    for file in sorted([*SRC.rglob("*.h"), *SRC.rglob("*.cpp"), *SRC.rglob("*.cu")]):
        problems += check_arrows(file, rooms) + check_coroutines(file)
        warnings += check_lengths(file)
    for warning in warnings:
        print("warning:", warning.replace(str(ROOT) + "/", ""))
    for problem in problems:
        print("error:", problem.replace(str(ROOT) + "/", ""))
    print(f"source: {len(problems)} errors, {len(warnings)} warnings")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
