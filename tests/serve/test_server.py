"""`fst serve` as a process: sockets, signals, and clients that do not play by the rules."""

import http.client
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import Started
from samples import jpeg_of

pytest.importorskip("fastapi", reason="pip install 'fst-style-transfer[serve]'")

HEAD = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
BODY = HEAD + jpeg_of() + b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
BODY += b"tiny\r\n--b--\r\n"
KIND = {"Content-Type": "multipart/form-data; boundary=b"}


def slow_passes() -> None:
    """Have each pass of a network take a while."""
    from fst.stylizing.stylizer import Stylizer

    render = Stylizer.render

    def slow(*given, **named):
        time.sleep(0.4)
        return render(*given, **named)

    Stylizer.render = slow


def start(model: Path, folder: Path, *flags: str, before=None) -> tuple[Started, int]:
    """Return a server and its port."""
    folder.mkdir(exist_ok=True)
    command = ["serve", str(model), "--port", "0", "--device", "cpu", "--workers", "1", *flags]
    started = Started(command, folder, before)
    started.wait_for("Application startup complete")
    return started, int(re.search(r'"url": "http://127.0.0.1:(\d+)"', started.out.read_text())[1])


def ask(port: int, body: bytes = BODY) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/stylize", body, KIND)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    content = connection.getresponse().read().decode()
    connection.close()
    return content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_answers_what_began_and_exits_with_0(tiny_model, tmp_path, number):
    started, port = start(tiny_model, tmp_path, "--queue", "2", before=slow_passes)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(ask, port) for _ in range(3)]
        while "fst_stylize_admitted 3.0" not in get(port, "/metrics"):
            assert not all(future.done() for future in asked)
        os.kill(started.process.pid, number)
        answers = [future.result() for future in asked]
    status, said, errors = started.end()
    assert [status for status, _ in answers] == [200] * 3
    assert len({content for _, content in answers}) == 1
    assert status == 0, errors
    assert "Traceback" not in errors
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["message"] == "ended"
    assert [line["status"] for line in lines if line.get("path") == "/stylize"] == [200] * 3
    with pytest.raises(ConnectionRefusedError):
        ask(port)


@pytest.fixture(scope="module")
def impatient(tiny_model: Path, tmp_path_factory) -> Iterator[int]:
    """The port of a server that waits a second for bodies of at most 100 kB."""
    folder = tmp_path_factory.mktemp("server")
    started, port = start(tiny_model, folder, "--timeout", "1", "--max-bytes", "100000")
    yield port
    os.kill(started.process.pid, signal.SIGTERM)
    assert started.end()[0] == 0


def talk(port: int, *parts: bytes) -> bytes:
    """Send parts and return everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    return answer


def head(*lines: str) -> bytes:
    kind = "Content-Type: multipart/form-data; boundary=b"
    first = "POST /stylize HTTP/1.1"
    return "\r\n".join([first, "Host: a", kind, "Connection: close", *lines, "", ""]).encode()


def test_who_keeps_to_the_rules_is_served(impatient: int):
    assert ask(impatient)[0] == 200
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert talk(impatient, head("Transfer-Encoding: chunked"), chunked).startswith(b"HTTP/1.1 200")


def test_a_body_that_does_not_come_is_not_waited_for(impatient: int):
    before = time.monotonic()
    answer = talk(impatient, head(f"Content-Length: {len(BODY)}"), BODY[:200])
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"the body did not arrive within 1 seconds" in answer
    assert 1 <= time.monotonic() - before < 15


def test_a_body_that_is_longer_than_said_is_cut(impatient: int):
    answer = talk(impatient, head(f"Content-Length: {len(BODY)}"), BODY + b"GET /etc HTTP/1.1\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 200")


def test_an_endless_body_ends_with_a_413_that_its_sender_can_read(impatient: int):
    chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
    parts = [head("Transfer-Encoding: chunked"), b"%x\r\n%b\r\n" % (len(HEAD), HEAD)]
    answer = talk(impatient, *parts, *[chunk] * 15, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    answer = talk(impatient, head("Content-Length: 150000"), bytes(150_000))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"a request may have 100,000 bytes at most" in answer


def test_who_asks_first_sends_nothing(impatient: int):
    answer = talk(impatient, head("Content-Length: 999999999", "Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10", "5, 6", ""])
def test_odd_lengths_are_refused(impatient: int, length: str):
    answer = talk(impatient, head(f"Content-Length: {length}"), b"12345")
    assert re.match(rb"HTTP/1.1 4\d\d", answer)


def test_who_leaves_makes_room(tiny_model, tmp_path):
    started, port = start(tiny_model, tmp_path, "--queue", "2")  # each may take a minute
    for _ in range(9):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY[:300])
    while "fst_stylize_admitted 0.0" not in get(port, "/metrics"):
        pass
    assert ask(port)[0] == 200
    os.kill(started.process.pid, signal.SIGTERM)
    assert started.end()[0] == 0


def test_a_wrong_call_is_one_line(fst_here, tiny_model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags, said in (
            (("--port", port), f"cannot listen at 127.0.0.1:{port}: Address already in use"),
            (("--port", 70000), "port=70000 must be from 0 to 65535"),
            (("--site", tmp_path), "is not a site: it has no index.html"),
            (("--queue", -1), "queue=-1 must be at least 0"),
            ((tiny_model,), "two models are named 'tiny'"),
        ):
            done = fst_here("serve", tiny_model, *flags)
            assert done.returncode == 2, said
            assert said in done.stderr
            assert done.stderr.count("\n") == 1
