"""scripts/check_source.py on good and bad snippets: each rule finds what it names, and no more."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import check_source as check  # noqa: E402

ROOMS = check.parse_rooms("""
holdfast_room(common/base LINKS fmt::fmt)
holdfast_room(common/http USES common/base LINKS asio)
holdfast_room(inference/backend/cpu USES common/base)
holdfast_room(inference/backend/cuda USES common/base CUDA device.cpp)
# holdfast_room(common/old USES nothing)
holdfast_room(inference/model USES common/base inference/backend/cpu)
""")


def includes(path: str, *lines: str, **others: str) -> list[str]:
    """Findings in a file of these lines, in a tree of a few headers."""
    sources = {
        "common/base/error.h": "#pragma once\n",
        "common/http/server.h": "#pragma once\n",
        "common/http/test_world.h": "#pragma once\n",
        "common/http/refused.h": "#pragma once\nnamespace holdfast::http::testing {\n}\n",
        "inference/backend/cpu/pool.h": "#pragma once\n",
        "inference/backend/cuda/copy.cuh": "#pragma once\n",
        path: "".join(line + "\n" for line in lines),
    }
    return check.check_includes(path, sources, ROOMS)


def test_parses_rooms_and_ignores_comments():
    assert set(ROOMS) == {"common/base", "common/http", "inference/backend/cpu",
                          "inference/backend/cuda", "inference/model"}
    assert ROOMS["inference/backend/cuda"].uses == {"common/base"}
    assert ROOMS["inference/model"].uses == {"common/base", "inference/backend/cpu"}
    assert ROOMS["common/http"].links == {"asio"}


@pytest.mark.parametrize(
    "path, line",
    [
        ("common/http/server.cpp", '#include "common/base/error.h"'),
        ("common/http/server.cpp", "#include <boost/asio/post.hpp>"),
        ("common/http/server.cpp", "#include <fmt/format.h>"),
        ("inference/model/load.cpp", '#include "inference/backend/cpu/pool.h"'),
        ("inference/backend/cpu/pool.cpp", '#include "inference/backend/cpu/pool.h"'),
        ("inference/backend/cuda/device.cpp", "#include <cuda_runtime_api.h>"),
        ("inference/backend/cuda/pack.cu", "#include <cuda_bf16.h>"),
        ("inference/backend/cuda/wgmma.cuh", '#include "inference/backend/cuda/copy.cuh"'),
        ("common/http/load_test.cpp", '#include "common/http/test_world.h"'),
        ("inference/model/load_test.cpp", "#include <simdjson.h>"),
        ("common/http/test_reference.h", '#include "common/http/refused.h"'),
        ("app/main.cpp", '#include "common/base/error.h"'),
        ("common/http/server.cpp", '#include "common/http/kinds.def"'),
        ("common/http/server.cpp", '// #include "inference/model/model.h"'),
    ],
)
def test_accepts_declared_arrows(path, line):
    assert includes(path, line) == []


@pytest.mark.parametrize(
    "path, line, reason",
    [
        ("common/base/error.cpp", '#include "common/http/server.h"', "does not declare that it uses common/http"),
        ("common/http/server.cpp", '#include "inference/backend/cpu/pool.h"', "uses inference/backend/cpu"),
        ("inference/model/load.cpp", '#include "common/http/server.h"', "does not declare that it uses common/http"),
        ("common/http/server.cpp", '#include "common/http/test_world.h"', "for tests only"),
        ("common/http/server.cpp", '#include "common/http/refused.h"', "for tests only"),
        ("common/http/server.cpp", '#include "common/http/gone.h"', 'there is no "common/http/gone.h"'),
        ("common/http/server.cpp", "#include <simdjson.h>", "JSON"),
        ("common/base/error.cpp", "#include <boost/asio/post.hpp>", "links asio"),
        ("common/http/server.cpp", "#include <format>", "use fmt"),
        ("inference/backend/cpu/pool.cpp", "#include <cuda_runtime.h>", "inference/backend/cuda"),
        ("inference/backend/cuda/device.h", "#include <cuda_runtime_api.h>", "a .h must compile without CUDA"),
        ("inference/backend/cuda/device.cpp", '#include "inference/backend/cuda/copy.cuh"', "for the CUDA compiler"),
        ("common/attic/old.cpp", "", "no room"),
    ],
)
def test_refuses_arrows_that_are_not_declared(path, line, reason):
    found = includes(path, "// A comment.", line)
    assert len([problem for problem in found if reason in problem]) == 1, found
    assert found[0].startswith(f"{path}:1:" if path.startswith("common/attic") else f"{path}:2:")


def test_finds_circles_unknown_rooms_and_forbidden_sight():
    rooms = check.parse_rooms("""
        holdfast_room(common/a USES common/b) holdfast_room(common/b USES common/c)
        holdfast_room(common/c USES common/a)
        holdfast_room(service/keeper USES common/between)
        holdfast_room(common/between USES common/http) holdfast_room(common/http USES common/gone)""")
    found = "\n".join(check.check_rooms(rooms))
    assert "circle of rooms: common/a -> common/b -> common/c -> common/a" in found
    assert "room service/keeper must not see common/http" in found
    assert "room common/http uses common/gone, which does not exist" in found
    assert check.check_rooms(ROOMS) == []


@pytest.mark.parametrize(
    "wing, other, sees",
    [(wing, other, other == wing or other in check.WINGS[wing])
     for wing in check.WINGS for other in check.WINGS],
)
def test_wings_see_what_the_matrix_gives_them(wing, other, sees):
    rooms = check.parse_rooms(f"holdfast_room({wing}/a USES {other}/b) holdfast_room({other}/b)")
    found = [problem for problem in check.check_rooms(rooms) if "must not see" in problem]
    assert len(found) == (0 if sees else 1), found


def test_the_matrix_keeps_service_and_inference_apart():
    assert check.WINGS["common"] == set()
    assert "inference" not in check.WINGS["service"] | check.WINGS["common"]
    assert "service" not in check.WINGS["inference"] | check.WINGS["tools"]
    assert check.check_rooms(check.parse_rooms("holdfast_room(attic/old)")) == [
        "room attic/old lies in no wing: there are " + ", ".join(check.WINGS)]


def test_finds_arrows_that_nothing_needs_and_headers_that_only_tests_include():
    sources = {
        "common/http/server.h": "#pragma once\n",
        "common/http/server.cpp":
            '#include "common/http/server.h"\n#include "common/base/error.h"\n',
        "common/http/server_test.cpp": '#include "common/http/crowd.h"\n',
        "common/http/crowd.h": "#pragma once\n",
    }
    rooms = check.parse_rooms(
        "holdfast_room(common/base) holdfast_room(common/http USES common/base common/chat)")
    assert check.check_unused(sources, rooms) == [
        "room common/http declares that it uses common/chat, but includes nothing of it",
        "common/http/crowd.h:1: nothing but tests includes this header",
    ]


GOOD_COROUTINES = [
    "auto written = co_await send(std::move(frame));",
    "Frame frame{id, std::move(body)};\nco_await send(std::move(frame));",
    "Frame frame{co_await read()};",
    "const Frame frame{id}; co_await send(frame);",
    "if (ready) { Frame frame{1}; keep(frame); } co_await send(next);",
    "for (const Frame& frame : std::vector{Frame{1}}) { co_await send(frame); }",
    "if (!co_await send(frame)) { keep(Frame{1}); }",
    "while (auto part = co_await read()) { keep(Frame{1}); }",
    "co_await finish({});",
    "co_await send(last ? closing : frame);",
    "co_await wait([] { return true; });",
    "co_await send(frames[index]);",
    "co_await send(Guarded{1});",
    "// co_await send(Frame{1});\n",
    'log("co_await send(Frame{1})");',
    "auto task = [this](Frame frame) -> Task<void> { co_await send(frame); };",
    "spawn(executor, [self]() -> Task<void> { co_await self->run(); });",
    "struct Frame { int id; }; Task<void> run() { co_await send(next); }",
    "keep(Frame{1}); co_await send(next);",
    "co_await send(next); keep(Frame{1});",
    "co_await (this->*route->answer)(call);",
]


@pytest.mark.parametrize("snippet", GOOD_COROUTINES)
def test_accepts_co_await_of_names(snippet):
    text = "Task<void> run() {\n" + snippet + "\n}\n"
    assert check.check_coroutines("a.cpp", text, constructed={"Guarded"}) == []


BAD_COROUTINES = [
    ("co_await send(Frame{id, std::move(body)});", "Frame{"),
    ("auto written = co_await send(wire::Frame{id});", "wire::Frame{"),
    ("co_await send(Box<int>{id});", "Box<int>{"),
    ("co_await send(\n    first,\n    Frame{.id = id});", "Frame{"),
    ("keep(Frame{1}, co_await read());", "Frame{"),
    ("Frame frame = merge(Frame{1}, co_await read());", "Frame{"),
    ("if (co_await send(Frame{1})) { done(); }", "Frame{"),
    ("co_return co_await send(Frame{1});", "Frame{"),
    ("co_await send({id, body});", "braced"),
    ("co_await wait([this] { return ready_; });", "lambda"),
    ("co_await wait([&](int n) { return n > limit; });", "lambda"),
    ("co_await run(executor, [self = copy]() mutable { self->go(); });", "lambda"),
    ("auto sent = closing ? co_await close() : co_await send(frame);", "?:"),
    ("co_await (closing ? close() : send(frame));", "?:"),
    ("spawn([]() -> Task<void> { co_await send(Frame{1}); });", "Frame{"),
]


@pytest.mark.parametrize("snippet, reason", BAD_COROUTINES)
def test_refuses_temporaries_beside_co_await(snippet, reason):
    text = "Task<void> run() {\n    int first = 0;\n    " + snippet + "\n}\n"
    found = check.check_coroutines("a.cpp", text, constructed={"Guarded"})
    assert len(found) == 1 and reason in found[0], found


def test_knows_classes_with_constructors():
    sources = {
        "a.h": "class Guarded {\npublic:\n    explicit Guarded(int id);\n};\nstruct Frame { int id; };"
    }
    assert check.types_with_constructors(sources) == {"Guarded"}


@pytest.mark.parametrize(
    "path, text, reason",
    [
        ("a.h", "int a();\n", "#pragma once"),
        ("a.h", "#pragma once\nusing namespace std;\n", "using namespace"),
        ("a.cpp", "int a();  // TO" "DO: more\n", "finish it"),
        ("a.cpp", "int a;  // NOLINT\n", "NOLINT names"),
        ("a.cpp", "int a;  // NOLINT(bugprone-x)\n", "NOLINT names"),
        ("a_test.cpp", "std::this_thread::sleep_for(1s);\n", "waits for events"),
    ],
)
def test_refuses_what_no_file_may_hold(path, text, reason):
    found = check.check_text(path, text)
    assert len(found) == 1 and reason in found[0], found


def test_accepts_a_suppression_with_a_reason():
    assert check.check_text("a.cpp", "int a;  // NOLINT(bugprone-x): the socket owns it\n") == []


def test_measures_functions_files_and_columns():
    body = "    call();\n" * 80
    long_function = "int run(int a,\n        int b) const {\n" + body + "}\n"
    text = "namespace a {\nclass B {\n    void short_one() { call(); }\n" + long_function + "};\n}\n"
    assert check.function_lengths(text) == [(3, 1), (4, 83)]
    assert check.check_lengths("a.cpp", text) == ["a.cpp:4: a function of 83 lines"]
    assert check.check_lengths("a.cpp", "x" * 101) == ["a.cpp:1: 101 columns"]
    assert check.check_lengths("a.cpp", "int a;\n" * 601) == ["a.cpp:1: 601 lines"]


def test_blanks_comments_and_strings_in_place():
    code = 'a("x//{", \'{\', R"mark({)" {)mark"); // }\n/* {\n */ b(1\'000);\n'
    blanked = check.blank(code)
    assert len(blanked) == len(code) and blanked.count("\n") == 3
    assert "{" not in blanked and "}" not in blanked and "1'000" in blanked


def test_finds_nothing_in_the_tree(capsys):
    assert check.main() == 0, capsys.readouterr().out
