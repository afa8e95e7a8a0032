"""Style as a test: arrows between rooms, test-only code, JSON, the coroutine rule, lengths.

Prints file:line: reason. Lengths of files and functions are warnings, everything else is an error.
tests/e2e/test_source_checks.py feeds every rule good and bad snippets.
"""

import bisect
import pathlib
import re
import sys
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILE_LINES_MAX, FUNCTION_LINES_MAX, COLUMNS_MAX = 600, 70, 100

# A wing is a folder of rooms. Which wings the rooms of a wing may see beside their own.
WINGS = {
    "common": set(),
    "service": {"common"},
    "inference": {"common"},
    "tools": {"common", "inference"},
    "app": {"common", "service", "inference", "tools"},
}
# The only rooms that may read or write JSON: the edges, where a model's own files are read, and the
# reports that commands print.
JSON_ROOMS = {"common/json", "common/dialect", "common/upstream", "app/config", "service/admin", "inference/tensor",
              "inference/text", "inference/worker", "tools/convert", "tools/cli", "tools/perf",
              "tools/plan", "tools/eval", "tools/hub", "tools/scripted_instance"}
# What a room must not see inside the wings that it may see, directly or through others.
FORBIDDEN = [
    ("inference/engine", "common/http"), ("inference/engine", "common/dialect"),
    ("inference/engine", "common/upstream"),
    ("service/keeper", "common/http"),
]
# The library in LINKS that a header from outside needs.
LIBRARIES = [
    (r"fmt/", "fmt::fmt"), (r"spdlog/", "spdlog::spdlog"), (r"boost/asio", "asio"),
    (r"openssl/ssl", "OpenSSL::SSL"), (r"openssl/", "OpenSSL::Crypto"), (r"yaml-cpp/", "yaml-cpp"),
    (r"simdjson", "simdjson::simdjson"), (r"CLI/", "CLI11::CLI11"),
    (r"curl/", "CURL::libcurl"),
    (r"xxhash", "PkgConfig::xxhash"), (r"utf8proc", "PkgConfig::utf8proc"), (r"re2/", "PkgConfig::re2"),
]
# What libstdc++ 12 lacks, and what belongs to one room.
FORBIDDEN_HEADERS = [
    (r"format", "std::format is missing from libstdc++ 12: use fmt"),
    (r"print", "std::print is missing from libstdc++ 12: use fmt"),
    (r"generator", "std::generator is missing from libstdc++ 12"),
    (r"iostream", "use fmt::print: <iostream> brings global objects"),
]

# A file that only tests and benchmarks may include.
TEST_NAME = re.compile(r"_(test|bench|fuzz)\.(cpp|h|cu)$|/(test_|fake)[^/]*$|/testing/")
# CUDA's own headers stay in one room, and in files that no other room includes.
CUDA_ROOM, CUDA_HEADER, CUDA_FILE = (
    "inference/backend/cuda", re.compile(r"cuda|cublas|cooperative_groups|nvml|nccl|driver_types"),
    re.compile(r"\.(cpp|cu|cuh)$"))
TEST_NAMESPACE = re.compile(r"^namespace holdfast\S*::testing\b", re.M)


@dataclass
class Room:
    uses: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)


def parse_rooms(listing: str) -> dict[str, Room]:
    """The rooms that the text of a CMakeLists.txt declares."""
    rooms = {}
    for call in re.findall(r"holdfast_room\(([^)]*)\)", re.sub(r"#.*", "", listing)):
        name, *words = call.split()
        groups: dict[str, set[str]] = {"USES": set(), "LINKS": set(), "CUDA": set()}
        key = ""
        for word in words:
            if word in groups:
                key = word
            else:
                groups[key].add(word)
        rooms[name] = Room(groups["USES"], groups["LINKS"])
    return rooms


def room_of(path: str, rooms) -> str | None:
    """The room that a path relative to src/ lies in: the longest room name that fits."""
    fitting = [room for room in rooms if path.startswith(room + "/")]
    return max(fitting, key=len, default=None)


def wing_of(room: str) -> str:
    return room.split("/")[0]


def find_circle(rooms: dict[str, Room]) -> list[str] | None:
    """A chain of rooms that leads back to its start, or None."""
    done: set[str] = set()

    def visit(room, chain):
        if room in chain:
            return [*chain[chain.index(room):], room]
        if room in done or room not in rooms:
            return None
        for used in sorted(rooms[room].uses):
            if circle := visit(used, [*chain, room]):
                return circle
        done.add(room)
        return None

    for room in rooms:
        if circle := visit(room, []):
            return circle
    return None


def reachable(room: str, rooms: dict[str, Room]) -> set[str]:
    """All rooms that `room` uses, directly or through others: their headers come along."""
    seen, todo = set(), [room]
    while todo:
        for used in rooms.get(todo.pop(), Room()).uses:
            if used not in seen:
                seen.add(used)
                todo.append(used)
    return seen


def check_rooms(rooms: dict[str, Room]) -> list[str]:
    problems = []
    if circle := find_circle(rooms):
        problems.append("circle of rooms: " + " -> ".join(circle))
    for room, forbidden in FORBIDDEN:
        if room in rooms and forbidden in reachable(room, rooms):
            problems.append(f"room {room} must not see {forbidden}")
    for name, room in rooms.items():
        wing = wing_of(name)
        if wing not in WINGS:
            problems.append(f"room {name} lies in no wing: there are {', '.join(WINGS)}")
            continue
        for used in sorted(room.uses):
            if used not in rooms:
                problems.append(f"room {name} uses {used}, which does not exist")
            elif wing_of(used) not in WINGS[wing] | {wing}:
                problems.append(f"room {name} must not see {used}: {wing} sees "
                                f"{', '.join(sorted(WINGS[wing])) or 'only itself'}")
    return problems


def blank(text: str) -> str:
    """`text` with comments, strings and characters replaced by spaces; every line keeps its place."""
    pattern = re.compile(
        r"""//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"""
        r""""(?:\\.|[^"\\\n])*"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'""",
        re.S,
    )
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


class Lines:
    """Line numbers of offsets in a text."""

    def __init__(self, text: str):
        self.starts = [0] + [found.end() for found in re.finditer("\n", text)]

    def at(self, offset: int) -> int:
        return bisect.bisect_right(self.starts, offset)


def is_test_only(path: str, text: str) -> bool:
    return bool(TEST_NAME.search("/" + path) or (path.endswith(".h") and TEST_NAMESPACE.search(text)))


def check_includes(path: str, sources: dict[str, str], rooms: dict[str, Room]) -> list[str]:
    """Arrows, outside libraries, JSON and test-only headers of one file below src/."""
    name = room_of(path, rooms)
    if name is None:
        # The program itself: one file that only calls the room of its commands.
        return [] if path == "app/main.cpp" else [f"{path}:1: this folder is no room"]
    room, test = rooms[name], is_test_only(path, sources[path])
    allowed = {name} | room.uses
    # What a used room links comes with its headers.
    links = room.links.union(*(rooms[used].links for used in room.uses if used in rooms))
    problems = []
    for number, line in enumerate(sources[path].splitlines(), 1):
        place = f"{path}:{number}:"
        if found := re.match(r'\s*#\s*include "([^"]+)"', line):
            target = room_of(found[1], rooms)
            if found[1].endswith(".def") and target == name:
                continue  # a list of registrations, beside the file that includes it
            if found[1] not in sources:
                problems.append(f'{place} there is no "{found[1]}" in src/')
            elif target not in allowed:
                problems.append(f"{place} room {name} does not declare that it uses {target}")
            elif found[1].endswith(".cuh") and not re.search(r"\.(cu|cuh)$", path):
                problems.append(f'{place} "{found[1]}" is for the CUDA compiler')
            elif not test and is_test_only(found[1], sources[found[1]]):
                problems.append(f'{place} "{found[1]}" is for tests only')
            elif re.match(r"common/json/", found[1]) and name not in JSON_ROOMS and not test:
                problems.append(f"{place} JSON is not this room's business")
        elif found := re.match(r"\s*#\s*include <([^>]+)>", line):
            for pattern, reason in FORBIDDEN_HEADERS:
                if re.fullmatch(pattern, found[1]):
                    problems.append(f"{place} {reason}")
            if found[1].startswith("simdjson") and name not in JSON_ROOMS and not test:
                problems.append(f"{place} JSON is not this room's business")
            if CUDA_HEADER.match(found[1]):
                if name != CUDA_ROOM:
                    problems.append(f"{place} CUDA belongs to {CUDA_ROOM}")
                elif not CUDA_FILE.search(path):
                    problems.append(f"{place} a .h must compile without CUDA: only .cpp, .cu and .cuh")
            library = next((l for pattern, l in LIBRARIES if re.match(pattern, found[1])), None)
            if library and library not in links and not test:
                problems.append(f"{place} room {name} does not declare that it links {library}")
    return problems


def check_unused(sources: dict[str, str], rooms: dict[str, Room]) -> list[str]:
    """Declared arrows that no include needs, and headers that only tests include."""
    included: dict[str, set[str]] = {name: set() for name in rooms}
    productive: set[str] = set()
    for path, text in sources.items():
        found = re.findall(r'^\s*#\s*include "([^"]+)"', text, re.M)
        if name := room_of(path, rooms):
            included[name].update(filter(None, (room_of(target, rooms) for target in found)))
        if not is_test_only(path, text):
            productive.update(found)
    problems = []
    for name, room in rooms.items():
        for used in sorted(room.uses - included[name]):
            problems.append(f"room {name} declares that it uses {used}, but includes nothing of it")
    for path, text in sources.items():
        if path.endswith((".h", ".cuh")) and path not in productive and not is_test_only(path, text):
            problems.append(f"{path}:1: nothing but tests includes this header")
    return problems


# --- C1: co_await takes names ---------------------------------------------------------------------

BRACKETS = {"(": ")", "[": "]", "{": "}"}
CLOSING = {close: open for open, close in BRACKETS.items()}
LAMBDA = re.compile(r"\[([^\[\]]*)\]\s*(?:<[^<>]*>\s*)?(?:\(|\{|mutable\b|->|noexcept\b)")
TYPE = r"(?:\w+::)*[A-Z]\w*(?:<[^;{}()]*>)?"


def opens_block(before: str) -> bool:
    """Whether the `{` after `before` opens statements and not a braced value."""
    before = before.rstrip()
    if not before or before[-1] in ";{}":
        return True
    if before.endswith(")") or re.search(r"\b(else|do|try|mutable|noexcept|const|override)$", before):
        return True
    if re.search(r"\]$", before):  # a lambda without parameters, not an array
        return bool(re.search(r"(^|[^\w)\]])\s*\[[^\[\]]*\]$", before))
    if re.search(r"->\s*[\w:<>,\s*&]+$", before):
        return True
    return bool(re.search(r"\b(struct|class|union|enum|namespace)\b[^;{}()]*$", before))


def statement_around(code: str, at: int) -> tuple[int, int]:
    """Where the full expression that holds `at` begins and ends."""
    depth, begin = 0, at
    while begin > 0:
        c = code[begin - 1]
        if c in CLOSING:
            if c == "}" and depth == 0 and ends_statement(code, begin - 1):
                break
            depth += 1
        elif c in BRACKETS:
            if depth == 0 and c == "{" and opens_block(code[max(0, begin - 300) : begin - 1]):
                break
            if depth == 0 and c == "(" and is_control(code[max(0, begin - 40) : begin - 1]):
                break
            depth = max(0, depth - 1)
        elif c == ";" and depth == 0:
            break
        begin -= 1
    depth, end = 0, at
    while end < len(code):
        c = code[end]
        if c in BRACKETS:
            depth += 1
        elif c in CLOSING:
            depth -= 1
        elif c == ";" and depth <= 0:
            break
        if depth < 0 and is_boundary_close(code, end, begin):
            break
        end += 1
    return begin, end


def ends_statement(code: str, close: int) -> bool:
    """Whether the `}` at `close` ends a block, seen from what follows it."""
    rest = code[close + 1 :].lstrip()
    return not re.match(r"[,;)\]}.(?:]|->|[-+*/<>=&|!]", rest)


def is_control(before: str) -> bool:
    return bool(re.search(r"\b(if|while|for|switch)\s*(constexpr\s*)?$", before))


def is_boundary_close(code: str, close: int, begin: int) -> bool:
    """Whether the bracket closed at `close` was opened before `begin`."""
    depth = 0
    for position in range(close, -1, -1):
        if code[position] in CLOSING:
            depth += 1
        elif code[position] in BRACKETS:
            depth -= 1
            if depth == 0:
                return position < begin
    return True


def drop_inner_bodies(expression: str) -> str:
    """`expression` with the bodies of lambdas blanked: their statements are looked at on their own."""
    out, position = list(expression), 0
    while position < len(expression):
        if expression[position] == "{" and opens_block("x" + expression[:position]):
            depth = 0
            for end in range(position, len(expression)):
                depth += {"{": 1, "}": -1}.get(expression[end], 0)
                if depth == 0:
                    break
            for inside in range(position + 1, end):
                if out[inside] != "\n":
                    out[inside] = " "
            position = end
        position += 1
    return "".join(out)


def types_with_constructors(sources: dict[str, str]) -> set[str]:
    """Classes of the tree that declare a constructor: `Type{…}` of them is no aggregate."""
    names = set()
    for text in sources.values():
        code = blank(text)
        for found in re.finditer(r"\b(?:class|struct)\s+([A-Z]\w*)[^;{]*\{", code):
            name = found[1]
            if re.search(rf"(?:[;:{{}}]|explicit|constexpr)\s*{name}\s*\(", code[found.end() - 1 :]):
                names.add(name)
    return names


def check_coroutines(path: str, text: str, constructed: set[str] = frozenset()) -> list[str]:
    """No aggregate temporary, capturing lambda or chosen call in a statement with co_await."""
    code = blank(text)
    lines, problems = Lines(code), {}
    for found in re.finditer(r"\bco_await\b", code):
        begin, end = statement_around(code, found.start())
        statement = drop_inner_bodies(code[begin:end])
        if reason := awkward_temporary(statement, constructed):
            problems[begin] = f"{path}:{lines.at(found.start())}: {reason} (CONTRIBUTING.md, co_await)"
    return list(problems.values())


def awkward_temporary(statement: str, constructed: set[str]) -> str | None:
    # The variable that the statement declares may be braced: `Frame frame{co_await read()};`.
    expression = re.sub(rf"^\s*(?:const\s+)?(?:auto|{TYPE})\s*[&*]*\s+\w+\s*(?==|\{{)", "", statement)
    for braced in re.finditer(rf"(?<![\w:])({TYPE})\s*\{{", expression):
        if re.search(r"->\s*$", expression[: braced.start()]):
            continue
        if re.sub(r"<.*", "", braced[1]).split("::")[-1] not in constructed:
            return f"name the temporary {braced[1]}{{…}} before co_await"
    # `{}` alone makes no aggregate with members to destroy twice: an empty optional or string.
    if re.search(r"[(,]\s*\{\s*[^\s}]", expression):
        return "name the braced temporary before co_await"
    for introducer in LAMBDA.finditer(expression):
        before = expression[: introducer.start()].rstrip()
        subscript = before and (before[-1].isalnum() or before[-1] in "_)]")
        if introducer[1].strip() and not (subscript and not re.search(r"\b(return|co_return|co_await)$", before)):
            return "name the capturing lambda before co_await"
    if re.search(r"\?[^;]*\bco_await\b|\bco_await\s*\([^()]*(?:\([^()]*\)[^()]*)*\?", expression):
        return "choose the awaited call with if, not with ?:"
    return None


# --- Whole files ----------------------------------------------------------------------------------


def check_text(path: str, text: str) -> list[str]:
    problems = []
    if path.endswith((".h", ".cuh")) and not re.search(r"^#pragma once$", text, re.M):
        problems.append(f"{path}:1: a header needs #pragma once")
    code = blank(text)
    for number, (line, original) in enumerate(zip(code.split("\n"), text.split("\n")), 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", original):
            problems.append(f"{path}:{number}: finish it or leave it out")
        if path.endswith((".h", ".cuh")) and re.match(r"using namespace\b", line):
            problems.append(f"{path}:{number}: using namespace in a header reaches everybody")
        if path.endswith("_test.cpp") and re.search(r"\bstd::this_thread::sleep|\b(u|nano)sleep\(", line):
            problems.append(f"{path}:{number}: a test waits for events and never for time")
        if re.search(r"//.*NOLINT(?!(NEXTLINE|BEGIN|END)?\([\w.,*-]+\):? \S)", original):
            if "NOLINTEND" not in original:
                problems.append(f"{path}:{number}: NOLINT names its check and a reason")
    return problems


def check_lengths(path: str, text: str) -> list[str]:
    lines = text.splitlines()
    warnings = []
    if len(lines) > FILE_LINES_MAX:
        warnings.append(f"{path}:1: {len(lines)} lines")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX and 'R"' not in line:
            warnings.append(f"{path}:{number}: {len(line)} columns")
    for start, count in function_lengths(text):
        if count > FUNCTION_LINES_MAX:
            warnings.append(f"{path}:{start}: a function of {count} lines")
    return warnings


def function_lengths(text: str) -> list[tuple[int, int]]:
    """First line and number of lines of every function body that is not inside another one."""
    code = blank(text)
    lines, found, position = Lines(code), [], 0
    while (position := code.find("{", position)) >= 0:
        head = re.search(r"[^;{}]*\Z", code[max(0, position - 1000) : position])[0].strip()
        is_function = (
            re.search(r"\)\s*(const|override|final|noexcept|mutable|->\s*[\w:<>,\s*&]+|\s|:[^?]*)*$", head)
            and not re.match(r"namespace|struct|class|enum|union|extern|TYPED_TEST_SUITE", head)
            and not re.search(r"=\s*\[[^\]]*\]|=\s*[\w:]*$", head)
        )
        if not is_function:
            position += 1
            continue
        depth, end = 0, position
        while end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            if depth == 0:
                break
            end += 1
        start = position - len(head)
        found.append((lines.at(start), lines.at(end) - lines.at(start) + 1))
        position = end
    return found


def check_tree(sources: dict[str, str], rooms: dict[str, Room]) -> tuple[list[str], list[str]]:
    """Errors and warnings of all files; `sources` maps paths relative to src/ to their text."""
    constructed = types_with_constructors(sources)
    problems, warnings = check_rooms(rooms) + check_unused(sources, rooms), []
    for path, text in sources.items():
        problems += check_includes(path, sources, rooms)
        problems += check_coroutines(path, text, constructed)
        problems += check_text(path, text)
        warnings += check_lengths(path, text)
    return problems, warnings


def main() -> int:
    source = ROOT / "src"
    rooms = {}
    for listing in sorted(source.rglob("CMakeLists.txt")):
        rooms |= parse_rooms(listing.read_text())
    files = sorted(file for kind in ("h", "cpp", "cu", "cuh") for file in source.rglob(f"*.{kind}"))
    sources = {file.relative_to(source).as_posix(): file.read_text() for file in files}
    problems, warnings = check_tree(sources, rooms)
    for kind, found in (("warning", warnings), ("error", problems)):
        for line in found:
            print(f"{kind}: src/{line}" if re.match(r"\S+:\d+:", line) else f"{kind}: {line}")
    print(f"source: {len(files)} files, {len(problems)} errors, {len(warnings)} warnings")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
