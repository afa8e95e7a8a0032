"""/tokenize and /detokenize on a worker and through the gateway, and how templates write conversations."""

import concurrent.futures
import json
import os
import signal

import pytest

import service

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 2?"}]


def ask(url: str, path: str, body) -> tuple[int, dict]:
    status, _, raw = service.post(url + path, body)
    return status, json.loads(raw)


@pytest.fixture(params=["gateway", "worker"])
def url(request, shared):
    """Both answer the same."""
    return shared.url if request.param == "gateway" else shared.instances()[0]["url"]


def test_both_ways_have_the_fields_of_vllm(url, shared):
    status, answer = ask(url, "/tokenize", {"model": "tiny-r1", "prompt": "What is 3478?", "return_token_strs": True})
    assert status == 200
    assert set(answer) == {"count", "max_model_len", "tokens", "token_strs"}
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert answer["max_model_len"] == shared.instances()[0]["context"]
    plain = ask(url, "/tokenize", {"prompt": "What is 3478?", "add_special_tokens": False})[1]
    assert answer["tokens"][1:] == plain["tokens"] and plain["token_strs"] is None
    assert ask(url, "/detokenize", {"tokens": plain["tokens"]}) == (200, {"prompt": "What is 3478?"})
    assert ask(url, "/detokenize", {"tokens": []}) == (200, {"prompt": ""})


def test_a_conversation_is_what_the_model_would_read(url, shared):
    body = {"model": "tiny-r1", "messages": QUESTION}
    answer = ask(url, "/tokenize", body)[1]
    text = ask(url, "/detokenize", {"tokens": answer["tokens"]})[1]["prompt"]
    assert text == "<｜begin▁of▁sentence｜>Be brief.<｜User｜>What is 1 + 2?<｜Assistant｜><think>\n"
    completion = ask(shared.url, "/v1/chat/completions", {**body, "max_tokens": 1})[1]
    assert completion["usage"]["prompt_tokens"] == answer["count"]
    bare = ask(url, "/tokenize", {**body, "add_generation_prompt": False})[1]["tokens"]
    assert ask(url, "/detokenize", {"tokens": bare})[1]["prompt"].endswith("What is 1 + 2?")


@pytest.mark.parametrize("path, body, status, param", [
    ("/tokenize", {"model": "gpt-x", "prompt": "x"}, 404, "model"),
    ("/detokenize", {"model": "gpt-x", "tokens": [1]}, 404, "model"),
    ("/tokenize", {"model": "tiny-r1"}, 400, "prompt"),
    ("/tokenize", {"prompt": "x", "messages": QUESTION}, 400, "prompt"),
    ("/tokenize", {"prompt": 7}, 400, "prompt"),
    ("/tokenize", {"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages[0].role"),
    ("/tokenize", {"messages": QUESTION, "chat_template": "{{ x }}"}, 400, "chat_template"),
    ("/tokenize", {"messages": QUESTION, "continue_final_message": True}, 400, "continue_final_message"),
    ("/detokenize", {"model": "tiny-r1"}, 400, "tokens"),
    ("/detokenize", {"tokens": [10**6]}, 400, "tokens"),
    ("/detokenize", {"tokens": [-1]}, 400, "tokens[0]"),
    ("/detokenize", {"tokens": ["1"]}, 400, "tokens[0]"),
    ("/tokenize", b"{", 400, None),
    ("/tokenize", b"[]", 400, None),
])
def test_what_is_wrong_is_named(url, path, body, status, param):
    got, answer = ask(url, path, body)
    assert got == status, answer
    error = answer["error"]
    assert error["message"] and error["param"] == param, error
    if status == 404:
        assert error["code"] == "model_not_found"
    assert service.post(url + path, b"{}", {"Content-Type": "text/plain"})[0] == 415
    assert service.get(url + path)[0] == 405


def test_it_is_asked_again_elsewhere_when_an_instance_dies(start):
    target = start("--set", "keeper.backoff_first=20s", "--set", "keeper.backoff_max=20s").wait_all_ready()
    tokens = ask(target.url, "/tokenize", {"prompt": "What is 3478?"})[1]["tokens"]
    # Stopped, it still accepts connections: some of these requests are under way there when it dies.
    victim = target.instances()[0]["pid"]
    os.kill(victim, signal.SIGSTOP)
    bodies = [{"prompt": "What is 3478?"}] * 6
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        asked = [pool.submit(ask, target.url, "/tokenize", body) for body in bodies]
        service.wait_until(lambda: sum(a.done() for a in asked) >= 1, "the other one answers")
        os.kill(victim, signal.SIGKILL)
        assert [a.result() for a in asked] == [(200, asked[0].result()[1])] * len(bodies)
    assert asked[0].result()[1]["tokens"] == tokens


OWN_TEMPLATE = {"begin": "", "user": {"before": "Q: ", "after": "\n"}, "assistant": {"before": "A: ", "after": "\n"},
                "system": {"place": "last", "after": "\n"}, "generation_prompt": "A: <think>\n"}


def test_templates_by_name_and_by_file(start, tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(OWN_TEMPLATE))
    expected = {
        "deepseek-r1-distill-no-think": "<｜begin▁of▁sentence｜>Be brief.<｜User｜>What is 1 + 2?<｜Assistant｜>",
        str(file): "Be brief.\nQ: What is 1 + 2?\nA: <think>\n",
    }
    for name, prompt in expected.items():
        target = start("--template", name, instances=1).wait_all_ready()
        tokens = ask(target.url, "/tokenize", {"messages": QUESTION})[1]["tokens"]
        assert ask(target.url, "/detokenize", {"tokens": tokens})[1]["prompt"] == prompt
        # A prompt that does not open the thinking: what comes is content until the model opens it.
        status, answer = ask(target.url, "/v1/chat/completions", {"messages": QUESTION, "model": "tiny-r1", "max_tokens": 8})
        assert status == 200 and answer["usage"]["prompt_tokens"] == len(tokens)
        target.stop()


def test_a_template_beside_the_configuration_is_found_after_every_restart(start, tmp_path):
    (tmp_path / "own.json").write_text(json.dumps(OWN_TEMPLATE))
    (tmp_path / "h.yaml").write_text("worker: {template: own.json}\n")
    target = start("--config", str(tmp_path / "h.yaml"), instances=1).wait_all_ready()
    (first,) = target.instances()
    os.kill(first["pid"], signal.SIGKILL)
    service.wait_until(lambda: [i for i in target.instances() if i["pid"] not in (0, first["pid"]) and i["state"] == "ready"],
                       "another worker is ready")
    tokens = ask(target.url, "/tokenize", {"messages": QUESTION})[1]["tokens"]
    prompt = ask(target.url, "/detokenize", {"tokens": tokens})[1]["prompt"]
    assert prompt == "Be brief.\nQ: What is 1 + 2?\nA: <think>\n"


@pytest.mark.parametrize("template, words", [
    ("deepseek-r2", ["deepseek-r2", "deepseek-r1-distill-no-think", "--template"]),
    ("missing.json", ["missing.json"]),
    ("broken.json", ["broken.json", "generation_promt"]),
])
def test_an_unknown_template_is_refused_with_what_there_is(tmp_path, template, words):
    (tmp_path / "broken.json").write_text('{"generation_promt": "x"}')
    done = service.command("worker", "--model", service.MODEL, "--listen", "127.0.0.1:0", "--template",
                           tmp_path / template if template.endswith(".json") else template)
    assert done.returncode == 1
    assert all(word in done.stderr for word in words), done.stderr
