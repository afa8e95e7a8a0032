"""Bad input gets OpenAI's error object that names the field; the next request is served."""

import json
import socket

import pytest

import service

GOOD = {"model": "tiny-r1", "messages": [{"role": "user", "content": "hi"}]}


def chat(target, body, headers=None):
    status, _, raw = service.post(target.url + "/v1/chat/completions", body, headers)
    return status, json.loads(raw).get("error")


@pytest.mark.parametrize("change, param", [
    ({"temperature": -1}, "temperature"), ({"temperature": 1e308}, "temperature"), ({"temperature": "1"}, "temperature"),
    ({"top_p": -0.1}, "top_p"), ({"top_p": 2}, "top_p"), ({"n": 0}, "n"), ({"n": 10**9}, "n"),
    ({"max_tokens": -2}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": 2**63}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"), ({"max_tokens": "10"}, "max_tokens"), ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"logit_bias": {"999999999": 1}}, "logit_bias"), ({"stop": 5}, "stop"), ({"seed": "x"}, "seed"),
    ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"), ({"messages": None}, "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages[0].content[0]"),
    ({"stream": "yes"}, "stream"), ({"model": 7}, "model"),
])
def test_a_wrong_field_is_named(shared, change, param):
    status, error = chat(shared, {**GOOD, **change})
    assert status == 400, error
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"]


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"nonsense", b'{"model":"tiny-r1"}', b'\xff\xfe{}', b'{"model":"tiny-r1","messages":[]} {}',
    b"[" * 100_000, b'{"model":"tiny-r1","messages":[{"role":"user","content":"\xff"}]}',
    b'{"model":"tiny-r1","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
    b'{"model":"tiny-r1","messages":[{"role":"user","content":"x"}],"temperature":1e999}',
])
def test_what_is_not_a_request_is_refused(shared, body):
    status, error = chat(shared, body)
    assert status == 400 and error["type"] == "invalid_request_error" and error["message"]


def test_unknown_models_and_long_prompts_have_their_codes(shared):
    status, error = chat(shared, {**GOOD, "model": "gpt-x"})
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    long_prompt = "What is 1 + 2? " * 20_000
    status, error = chat(shared, {**GOOD, "messages": [{"role": "user", "content": long_prompt}]})
    assert (status, error["code"]) == (400, "context_length_exceeded")
    context = json.loads(service.get(shared.url + "/v1/models")[2])["data"][0]["context_length"]
    assert str(context) in error["message"]
    assert sum(word.strip(".,()").isdigit() for word in error["message"].split()) >= 2


def test_wrong_media_types_methods_and_paths(shared):
    status, error = chat(shared, GOOD, {"Content-Type": "text/plain"})
    assert status == 415 and error["message"]
    assert service.get(shared.url + "/v1/chat/completions")[0] == 405
    assert service.get(shared.url + "/nowhere")[0] == 404


def raw(target, data: bytes) -> bytes:
    """Sends bytes as they are and reads until the server closes or answers."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=60) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
            if b"\r\n\r\n" in received:
                break
        return received


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("data, status", [
    (HEAD + b"Content-Length: 999999999\r\n\r\n", b"413"),
    (HEAD + b"Content-Length: -1\r\n\r\n", b"400"),
    (HEAD + b"Content-Length: +5\r\n\r\nhello", b"400"),
    (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"400"),
    (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", b"400"),
    (b"nonsense\r\n\r\n", b"400"),
])
def test_broken_framing_is_refused_and_the_connection_closed(shared, data, status):
    received = raw(shared, data)
    assert received.split(b" ")[1] == status, received[:200]
    assert b'"error"' in received or b"Content-Length" in received
    assert chat(shared, GOOD)[0] == 200


def test_models_are_listed_without_v1_too(shared):
    assert service.get(shared.url + "/models")[2] == service.get(shared.url + "/v1/models")[2]
