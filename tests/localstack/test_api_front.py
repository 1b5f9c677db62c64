"""Requests on their way through the front to a real function, and answers on their way back."""

import base64
import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lambda_executor import Function
from twin.api_front import ApiFront, PortInUseError
from twin.errors import ServerError

# What to do stands in the request's body, unless that is what is being tested.
HANDLER = """
import json, os, time

def handler(event, context):
    if event["path"] == "/echo":
        return {"statusCode": 200, "body": json.dumps(event)}
    order = json.loads(event["body"] or "{}")
    time.sleep(order.get("sleep", 0))
    if "raise" in order:
        raise ValueError(order["raise"])
    if "exit" in order:
        os._exit(order["exit"])
    return order.get("answer", {"statusCode": 200})
"""


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("code")
    (folder / "app.py").write_text(HANDLER)
    with Function(handler="app.handler", code=folder) as function:
        yield function


@pytest.fixture(scope="module")
def front(function: Function) -> Iterator[ApiFront]:
    with ApiFront(function) as front:
        yield front


def send(front: ApiFront, method: str, target: str, body: Any = None, headers: Any = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def order(front: ApiFront, **what: Any) -> Answer:
    return send(front, "POST", "/do", json.dumps(what))


def event_of(front: ApiFront, method: str, target: str, **how: Any) -> dict[str, Any]:
    answer = send(front, method, target, **how)
    assert answer.status == 200, answer
    event: dict[str, Any] = json.loads(answer.body)
    return event


def raw(front: ApiFront, request: bytes) -> bytes:
    """What comes back for these bytes until the front closes the connection."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=60) as connection:
        connection.sendall(request)
        received = b""
        while data := connection.recv(1 << 16):
            received += data
    return received


def message(answer: Answer) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status, json.loads(answer.body)["message"]


def test_an_event_has_what_a_rest_api_sends(front: ApiFront) -> None:
    event = event_of(front, "POST", "/echo?limit=5", body=b"text", headers={"User-Agent": "a test"})
    assert event["resource"] == "/{proxy+}"
    assert event["path"] == "/echo"
    assert event["httpMethod"] == "POST"
    assert event["pathParameters"] == {"proxy": "echo"}
    assert event["stageVariables"] is None
    assert (event["body"], event["isBase64Encoded"]) == ("text", False)
    context = event["requestContext"]
    assert context["stage"] == "local"
    assert context["path"] == "/local/echo"
    assert context["resourcePath"] == "/{proxy+}"
    assert context["protocol"] == "HTTP/1.1"
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert context["identity"]["userAgent"] == "a test"
    assert context["requestTimeEpoch"] > 1.7e12
    assert event["headers"]["X-Forwarded-Proto"] == "http"
    assert event["headers"]["X-Forwarded-Port"] == str(front.port)
    assert "version" not in event


def test_a_request_has_the_same_id_in_event_and_answer(front: ApiFront) -> None:
    answer = send(front, "GET", "/echo")
    assert answer.headers["x-amzn-RequestId"] == json.loads(answer.body)["requestContext"]["requestId"]


def test_query_parameters_are_decoded_and_the_last_of_several_stands_alone(front: ApiFront) -> None:
    event = event_of(front, "GET", "/echo?a=1&b=%C3%A9+%26&a=2&empty=&a%20b=c")
    assert event["queryStringParameters"] == {"a": "2", "b": "é &", "empty": "", "a b": "c"}
    assert event["multiValueQueryStringParameters"] == {
        "a": ["1", "2"],
        "b": ["é &"],
        "empty": [""],
        "a b": ["c"],
    }


def test_what_is_not_there_is_null(front: ApiFront) -> None:
    event = event_of(front, "GET", "/echo")
    for key in ("queryStringParameters", "multiValueQueryStringParameters", "body"):
        assert event[key] is None


def test_a_path_stays_encoded_and_may_hold_anything(function: Function, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLER.replace('== "/echo"', "!= 0"))
    with Function(handler="app.handler", code=tmp_path) as echo, ApiFront(echo) as front:
        event = event_of(front, "GET", "/v1/users/%C3%A9%2F%20+%25/recommendations/")
        assert event["path"] == "/v1/users/%C3%A9%2F%20+%25/recommendations/"
        assert event["pathParameters"] == {"proxy": "v1/users/%C3%A9%2F%20+%25/recommendations"}
        root = event_of(front, "GET", "/")
        assert (root["resource"], root["path"], root["pathParameters"]) == ("/", "/", None)
        unencoded = raw(front, "GET /é?ü=ö HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        told = json.loads(unencoded.split(b"\r\n\r\n", 1)[1])
        assert (told["path"], told["queryStringParameters"]) == ("/%C3%A9", {"ü": "ö"})
        absolute = raw(front, b"GET http://shop/a?b=c HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        assert json.loads(absolute.split(b"\r\n\r\n", 1)[1])["path"] == "/a"


def test_headers_that_are_repeated_are_all_there(front: ApiFront) -> None:
    request = (
        b"GET /echo HTTP/1.1\r\nHost: shop.example\r\nX-Tag: one\r\nx-tag: two\r\n"
        b"X-Forwarded-For: 10.0.0.1\r\nx-forwarded-proto: https\r\nConnection: close\r\n\r\n"
    )
    event = json.loads(raw(front, request).split(b"\r\n\r\n", 1)[1])
    assert event["multiValueHeaders"]["X-Tag"] == ["one", "two"]
    assert event["headers"]["X-Tag"] == "two"
    assert event["headers"]["X-Forwarded-For"] == "10.0.0.1, 127.0.0.1"
    assert event["headers"]["X-Forwarded-Proto"] == "http"
    assert event["requestContext"]["domainName"] == "shop.example"
    assert not {"connection", "content-length"} & {name.lower() for name in event["headers"]}
    assert event["headers"].keys() == event["multiValueHeaders"].keys()


def test_a_body_of_text_is_text_and_another_is_base64(front: ApiFront) -> None:
    text = event_of(front, "POST", "/echo", body='{"name": "日本 🛒"}'.encode())
    assert (text["body"], text["isBase64Encoded"]) == ('{"name": "日本 🛒"}', False)
    binary = bytes(range(256))
    event = event_of(front, "POST", "/echo", body=binary)
    assert event["isBase64Encoded"]
    assert base64.b64decode(event["body"]) == binary


@pytest.mark.parametrize("method", ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"])
def test_every_method_arrives(front: ApiFront, method: str) -> None:
    assert event_of(front, method, "/echo")["httpMethod"] == method


def test_an_answer_comes_out_as_the_function_gave_it(front: ApiFront) -> None:
    answer = order(
        front,
        answer={
            "statusCode": 201,
            "headers": {"Content-Type": "text/plain; charset=utf-8", "ETag": '"1"', "X-Flag": True},
            "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "etag": ['"1"']},
            "body": "größer",
        },
    )
    assert answer.status == 201
    assert answer.headers.get_all("Content-Type") == ["text/plain; charset=utf-8"]
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers.get_all("ETag") == ['"1"']
    assert answer.headers["X-Flag"] == "true"
    assert answer.body.decode() == "größer"


def test_a_binary_answer_is_decoded(front: ApiFront) -> None:
    body = base64.b64encode(bytes(range(256))).decode()
    answer = order(front, answer={"statusCode": 200, "body": body, "isBase64Encoded": True})
    assert answer.body == bytes(range(256))


def test_an_answer_without_a_type_is_json_as_behind_the_real_gateway(front: ApiFront) -> None:
    answer = order(front, answer={"body": "{}"})
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "application/json", b"{}")


def test_headers_that_a_function_may_not_decide_are_renamed(front: ApiFront) -> None:
    headers = {"Content-Length": "5", "WWW-Authenticate": "Basic", "Transfer-Encoding": "chunked"}
    answer = order(front, answer={"statusCode": 401, "headers": headers, "body": "no"})
    assert answer.headers["Content-Length"] == "2"
    assert answer.headers["x-amzn-Remapped-Content-Length"] == "5"
    assert answer.headers["x-amzn-Remapped-WWW-Authenticate"] == "Basic"
    assert answer.headers["Transfer-Encoding"] is None
    assert answer.body == b"no"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_sends_none(front: ApiFront, status: int) -> None:
    answer = order(front, answer={"statusCode": status, "body": "ignored"})
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (status, None, b"")


def test_head_tells_the_length_and_sends_no_body(front: ApiFront) -> None:
    answer = send(front, "HEAD", "/echo")
    assert int(answer.headers["Content-Length"]) > 100
    assert answer.body == b""


@pytest.mark.parametrize(
    "what",
    [
        {"raise": "on purpose"},
        {"exit": 1},
        {"answer": {"statusCode": 200, "cookies": []}},
        {"answer": "text"},
        {"answer": None},
        {"answer": {"statusCode": "many"}},
        {"answer": {"statusCode": 99}},
        {"answer": {"statusCode": 200, "body": {"not": "text"}}},
        {"answer": {"statusCode": 200, "body": "abcde", "isBase64Encoded": True}},
        {"answer": {"statusCode": 200, "headers": {"X": 1}}},
        {"answer": {"statusCode": 200, "headers": {"X": "a\r\nY: b"}}},
        {"answer": {"statusCode": 200, "multiValueHeaders": {"X": "a"}}},
        {"answer": {"statusCode": 200, "headers": []}},
    ],
)
def test_a_function_that_fails_or_answers_nonsense_is_a_bad_gateway(
    front: ApiFront, what: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert message(order(front, **what)) == (502, "Internal server error")
    assert "POST /do: " in caplog.text
    assert order(front).status == 200


def test_a_function_that_takes_too_long_is_a_gateway_timeout(function: Function) -> None:
    with ApiFront(function, integration_timeout=0.2) as front:
        assert message(order(front, sleep=1)) == (504, "Endpoint request timed out")


def test_a_functions_own_timeout_is_a_bad_gateway(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLER)
    with (
        Function(handler="app.handler", code=tmp_path, timeout=0.3) as function,
        ApiFront(function) as front,
    ):
        assert message(order(front, sleep=60)) == (502, "Internal server error")


@pytest.mark.parametrize("megabytes", [7, 11])
def test_a_body_that_is_too_large_is_refused(front: ApiFront, megabytes: int) -> None:
    answer = send(front, "POST", "/echo", b"x" * megabytes * 1024 * 1024)
    assert message(answer) == (413, "Request Too Long")


def test_a_body_in_chunks_is_put_together(front: ApiFront) -> None:
    chunks = [b"one;", b"x" * 100_000, b"\r\n0\r\n\r\n"]
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
    for _ in range(2):
        connection.request("POST", "/echo", iter(chunks))
        assert json.loads(connection.getresponse().read())["body"] == b"".join(chunks).decode()
    connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: \xc2\xb2\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 411),
        (b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", 413),
        (b"nonsense\r\n\r\n", 400),
        (b"BREW /echo HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    ],
)
def test_what_is_no_proper_request_gets_a_clear_answer(
    front: ApiFront, request_bytes: bytes, status: int
) -> None:
    received = raw(front, request_bytes)
    assert json.loads(received[received.index(b"{") :])["message"]
    if request_bytes != b"nonsense\r\n\r\n":  # which speaks HTTP/0.9, where an answer is its body
        assert received.startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_waits_before_it_sends_is_told_to_go_on(front: ApiFront) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", front.port), timeout=60) as connection:
        connection.sendall(head)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"ok")
        with connection.makefile("rb") as answer:
            assert json.loads(answer.read().split(b"\r\n\r\n", 1)[1])["body"] == "ok"


def test_one_connection_serves_many_requests(front: ApiFront) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
    connection.connect()
    first = connection.sock
    for number in range(20):
        connection.request("POST", "/echo", str(number))
        assert json.loads(connection.getresponse().read())["body"] == str(number)
        assert connection.sock is first
    connection.close()


def test_many_clients_at_once_get_each_their_own_answer(front: ApiFront) -> None:
    with ThreadPoolExecutor(16) as pool:
        events = list(pool.map(lambda n: event_of(front, "POST", "/echo", body=str(n)), range(200)))
    assert [event["body"] for event in events] == [str(number) for number in range(200)]


def test_a_client_that_leaves_disturbs_nobody(front: ApiFront, caplog: pytest.LogCaptureFixture) -> None:
    for request in (b"", b"GET /ec", b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nshort"):
        with socket.create_connection(("127.0.0.1", front.port)) as connection:
            connection.sendall(request)
    with socket.create_connection(("127.0.0.1", front.port)) as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n")
    assert order(front).status == 200
    assert "broke off" not in caplog.text


def test_a_port_in_use_is_named(front: ApiFront, function: Function) -> None:
    with pytest.raises(PortInUseError, match=f"port {front.port} is in use") as raised:
        ApiFront(function, port=front.port)
    assert isinstance(raised.value, ServerError)


def test_it_listens_on_loopback_and_says_that_it_authorizes_nobody(
    function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="twin.api_front"), ApiFront(function) as front:
        assert front.url == f"http://127.0.0.1:{front.port}"
    assert "authorizes nobody" in caplog.text


def test_nothing_is_left_when_it_has_stopped(function: Function) -> None:
    before = set(threading.enumerate())
    front = ApiFront(function)
    idle = socket.create_connection(("127.0.0.1", front.port))
    kept = http.client.HTTPConnection("127.0.0.1", front.port)
    kept.request("GET", "/echo")
    kept.getresponse().read()
    front.stop()
    assert idle.recv(1) == b""
    idle.close()
    kept.close()
    assert [thread for thread in set(threading.enumerate()) - before if thread.name == "api-front"] == []
    with ApiFront(function, port=front.port):
        pass


def test_an_answer_that_is_under_way_is_finished_before_the_stop(function: Function) -> None:
    front = ApiFront(function)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(order, front, sleep=0.5, answer={"statusCode": 202})
        threading.Event().wait(0.2)
        front.stop()
        assert slow.result().status == 202
