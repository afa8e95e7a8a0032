"""Answers of real servers of other projects are carried across the loss of the server.

HOLDFAST_PEERS=all (`make peers-test`) loses every kind of answer at many places; without it a few
are enough. HOLDFAST_VLLM names a Python that has vLLM; without one its part is left out."""

import os
import pathlib

import pytest

import peers
import service

ALL = os.environ.get("HOLDFAST_PEERS") == "all"
VLLM_PYTHON = os.environ.get("HOLDFAST_VLLM", "")

SUM = "What is 3478 + 5869?"  # thinks for about 170 tokens, then answers with 15
CHAT = {"model": peers.NAME, "messages": [{"role": "user", "content": SUM}], "temperature": 0, "max_tokens": 600}
RAW = {"model": peers.NAME, "prompt": "<｜User｜>What is 12 * 34?<｜Assistant｜><think>\n", "temperature": 0,
       "max_tokens": 300}
SHAPES = {
    "chat": CHAT,
    "raw": RAW,
    "chinese": {**CHAT, "messages": [{"role": "user", "content": "345 * 27 等于多少？"}]},
    "stop": {**CHAT, "stop": ["**93"]},
    "length": {**CHAT, "max_tokens": 60},
    "scores": {**CHAT, "max_tokens": 90, "logprobs": True, "top_logprobs": 2},
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory, gguf):
    folder = tmp_path_factory.mktemp("llama-server")
    yield from _behind(folder, [peers.LlamaServer(folder, gguf("bf16")) for _ in range(2)])


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    if not pathlib.Path(VLLM_PYTHON or "/nowhere").exists():
        pytest.skip("HOLDFAST_VLLM names no Python that has vLLM")
    folder = tmp_path_factory.mktemp("vllm")
    # One parses the thinking and one does not: a client sees no difference.
    yield from _behind(folder, [peers.Vllm(folder, VLLM_PYTHON, parses_reasoning=yes) for yes in (True, False)])


def _behind(folder, servers):
    for server in servers:
        server.wait_ready(600)
    front = peers.Front(folder, servers).wait_all_ready()
    yield front
    front.stop()
    for server in servers:
        server.stop()


class Undisturbed:
    """Answers that nothing interrupted, each asked once."""

    def __init__(self):
        self._seen = {}

    def __call__(self, front: peers.Front, shape: str) -> peers.Seen:
        key = (front.url, shape)
        if key not in self._seen:
            front.plan(None)
            self._seen[key] = peers.ask(front, SHAPES[shape])
            assert self._seen[key].error is None
        return self._seen[key]


@pytest.fixture(scope="module")
def undisturbed():
    return Undisturbed()


def lose(front: peers.Front, body: dict, events: int, act: str) -> peers.Seen:
    """The answer to `body` when its server is lost after `events` events."""
    plan = peers.Plan(events, act)
    front.plan(plan)
    for _ in range(20):  # vLLM may say several tokens with an event, and so end before this one
        seen = peers.ask(front, body)
        if plan.done:
            break
    front.plan(None)
    assert plan.done, "the answer was always over before the loss"
    if act != "drop":
        front.mend()
    return seen


def places(count: int, shape: str) -> list[int]:
    """`count` numbers of events, from the first to nearly the last of the shape's answer."""
    last = {"chat": 150, "raw": 160, "chinese": 300, "stop": 150, "length": 58, "scores": 88}[shape]
    return sorted({last * n // max(count - 1, 1) for n in range(count)})


def form(body: dict, streamed: bool) -> dict:
    return {**body, "stream": True, "stream_options": {"include_usage": True}} if streamed else body


FEW = [("chat", 0, "drop"), ("chat", 40, "kill"), ("chat", 150, "kill"), ("raw", 80, "drop"), ("stop", 145, "drop"),
       ("length", 58, "drop"), ("scores", 50, "drop"), ("chinese", 100, "drop")]
MANY = [(shape, events, ("kill", "drop", "drop")[n % 3]) for shape in SHAPES for n, events in
        enumerate(places(8, shape))]
CUTS = MANY if ALL else FEW
both_forms = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])


def check(front, undisturbed, shape: str, events: int, act: str, streamed: bool):
    expected = undisturbed(front, shape)
    seen = lose(front, form(SHAPES[shape], streamed), events, act)
    assert seen.promise == expected.promise == "exact-text"
    assert seen.essence() == expected.essence()
    # A server computes a token's logits beside others (a prompt's) and alone in different orders.
    assert seen.logprobs() == pytest.approx(expected.logprobs(), abs=0.01)


@both_forms
@pytest.mark.parametrize("shape, events, act", CUTS)
def test_an_answer_of_llama_server_goes_on_as_if_nothing_had_happened(llama, undisturbed, shape, events, act, streamed):
    check(llama, undisturbed, shape, events, act, streamed)


@both_forms
@pytest.mark.parametrize("shape, events", [(shape, events) for shape, events, _ in CUTS])
def test_an_answer_of_vllm_goes_on_as_if_nothing_had_happened(vllm, undisturbed, shape, events, streamed):
    check(vllm, undisturbed, shape, events, "drop", streamed)


def check_silence(front, undisturbed):
    """A server that stands still with all its connections is left, and comes back when it goes on."""
    expected = undisturbed(front, "chat")
    assert lose(front, form(CHAT, True), 100, "stop").essence() == expected.essence()


def test_an_answer_of_a_llama_server_that_stands_still_goes_on_elsewhere(llama, undisturbed):
    check_silence(llama, undisturbed)


def test_an_engine_of_vllm_that_hangs_behind_its_front_is_found(vllm, undisturbed):
    check_silence(vllm, undisturbed)


def check_sampling(front):
    """With temperature the same model goes on after everything that was said."""
    body = {**CHAT, "temperature": 0.6, "seed": 5}
    front.plan(None)
    undisturbed = peers.ask(front, body)
    seen = lose(front, form(body, True), 60, "drop")
    assert seen.error is None and seen.promise == undisturbed.promise == "same-model"
    assert seen.reasoning[:60] == undisturbed.reasoning[:60]
    assert seen.finish == "stop" and "9347" in seen.text
    assert seen.usage["prompt_tokens"] == undisturbed.usage["prompt_tokens"]


def test_an_answer_of_llama_server_with_temperature_goes_on_with_the_same_model(llama):
    check_sampling(llama)


def test_an_answer_of_vllm_with_temperature_goes_on_with_the_same_model(vllm):
    check_sampling(vllm)


def test_answers_of_both_kinds_have_the_same_text(llama, vllm, undisturbed):
    of_llama, of_vllm = undisturbed(llama, "chat").essence(), undisturbed(vllm, "chat").essence()
    assert of_llama == of_vllm
    assert of_llama["reasoning"].endswith("So 3478+5869=9347.")
    assert of_llama["text"] == "3478 + 5869 = **9347**"


def test_every_token_of_an_answer_has_its_log_probability(llama, undisturbed):
    seen = undisturbed(llama, "scores")
    assert len(seen.scores) == seen.usage["completion_tokens"] == SHAPES["scores"]["max_tokens"]


def test_status_shows_what_a_server_offers(llama):
    assert all(i["renders"] and i["tells_ids"] for i in llama.instances())
