"""Every limit refuses with its status and reason, and lets in what is below it."""

import io
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from samples import jpeg_of

from fst.errors import UserError
from fst.serve.limits import Limits
from fst.stylizing.stylizer import Stylizer

pytest.importorskip("fastapi", reason="pip install 'fst-style-transfer[serve]'")


class Gate:
    """Holds every pass until it is opened; counts their pictures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.reached = threading.Event(), threading.Semaphore(0)
        self.passes: list[int] = []
        render = Stylizer.render

        def held(stylizer: Stylizer, images, *given, **named):
            self.passes.append(len(images))
            self.reached.release()
            assert self.open.wait(20)
            return render(stylizer, images, *given, **named)

        monkeypatch.setattr(Stylizer, "render", held)


@pytest.fixture
def gate(monkeypatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open.set()


def post(client, picture: bytes | None = None, **form: str):
    files = {"picture": picture or jpeg_of()}
    return client.post("/stylize", files=files, data={"model": "tiny", "format": "png", **form})


def wait_until(check: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.005)


def value(client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    ("field", "bad"),
    [("max_bytes", 0), ("max_pixels", -1), ("workers", 0), ("queue", -1), ("timeout", 0.0),
     ("timeout", float("nan")), ("timeout", float("inf"))],
)  # fmt: skip
def test_impossible_limits_are_refused(field: str, bad: float):
    with pytest.raises(UserError, match=f"{field}={bad} must be"):
        Limits(**{field: bad})


def test_more_bytes_than_allowed_are_refused_however_they_come(serve):
    client = serve(max_bytes=50_000)
    assert post(client).status_code == 200
    answer = post(client, bytes(60_000))
    assert answer.status_code == 413
    assert answer.json()["error"] == "a request may have 50,000 bytes at most"
    taken = []

    def chunks() -> Iterator[bytes]:  # no Content-Length
        yield b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        for number in range(1000):
            taken.append(number)
            yield bytes(1000)

    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/stylize", content=chunks(), headers=kind)
    assert answer.status_code == 413


def icon_within(width: int, height: int) -> bytes:
    """An icon that says 16x16 and holds a PNG of another size."""
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    head = struct.pack("<HHH", 0, 1, 1)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, file.tell(), 22)
    return head + entry + file.getvalue()


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(serve, monkeypatch):
    client = serve(max_pixels=10_000)
    assert post(client, jpeg_of(100)).status_code == 200
    decoded = []
    monkeypatch.setattr("fst.serve.work.read_picture", lambda content: decoded.append(content))
    answer = post(client, jpeg_of(101))
    assert answer.status_code == 413
    assert answer.json()["error"] == "the picture has 10,201 pixels; 10,000 are the most"
    files = {"picture": jpeg_of(), "painting": jpeg_of(101)}
    answer = client.post("/stylize", files=files, data={"model": "any"})
    assert answer.status_code == 413
    assert "the painting has" in answer.json()["error"]
    assert not decoded


def test_a_picture_within_a_picture_is_bounded_too(serve, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000 // 2)  # as `run_server` sets it
    client = serve(max_pixels=10_000)
    assert post(client, icon_within(16, 16)).status_code == 200
    answer = post(client, icon_within(200, 200))
    assert answer.status_code == 413
    assert "too large" in answer.json()["error"]


def test_beyond_the_queue_requests_are_refused_and_the_others_are_answered(serve, gate: Gate):
    client = serve(workers=1, queue=2)
    with ThreadPoolExecutor(4) as threads:
        begun = [threads.submit(post, client) for _ in range(3)]
        wait_until(lambda: value(client, "fst_stylize_admitted") == 3)
        answer = post(client)
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "2"
        assert "the queue is full" in answer.json()["error"]
        assert client.get("/healthz").status_code == 200
        gate.open.set()
        assert [future.result().status_code for future in begun] == [200, 200, 200]
    assert post(client).status_code == 200
    assert value(client, "fst_stylize_admitted") == 0
    assert value(client, 'fst_requests_total{model="",status="429"}') == 1


def test_waiting_too_long_is_a_503_and_working_too_long_a_504(serve, gate: Gate):
    client = serve(workers=1, timeout=0.4)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(post, client)
        assert gate.reached.acquire(timeout=10)
        second = post(client)
        assert second.status_code == 503
        assert "no worker was free" in second.json()["error"]
        assert second.headers["retry-after"]
        assert first.result().status_code == 504
        assert "took too long" in first.result().json()["error"]
    gate.open.set()
    wait_until(lambda: post(client).status_code == 200)
    assert gate.passes.count(1) == len(gate.passes)  # the second was never begun


def test_large_pictures_are_given_up_between_tiles(serve, monkeypatch):
    """Else nobody would wait for the result, and the worker be busy with it."""
    monkeypatch.setattr("fst.stylizing.stylizer.WHOLE_PX", 100)
    monkeypatch.setattr("fst.stylizing.stylizer.TILE_PX", 32)
    ended: list[float] = []
    render = Stylizer.render

    def slow(stylizer, images, look, progress):
        def slowly(share: float) -> None:
            time.sleep(0.1)
            ended.append(share)
            progress(share)

        return render(stylizer, images, look, progress=slowly)

    monkeypatch.setattr(Stylizer, "render", slow)
    client = serve(timeout=0.5)
    assert post(client, jpeg_of(256)).status_code == 504
    client.app.state.service.workshop.close()
    assert 0 < len(ended) < 30
    assert max(ended) < 0.9


def test_those_of_one_size_share_a_pass_and_get_the_same_pixels(serve, gate: Gate):
    """As with a GPU, where one pass runs at a time."""
    client = serve(workers=6)
    service = client.app.state.service
    service.workshop.batcher._passes = threading.Semaphore(1)
    asked = [{}] * 4 + [{"strength": "0.5"}] * 2
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(post, client, None, **asked[0])
        assert gate.reached.acquire(timeout=10)
        others = [threads.submit(post, client, None, **form) for form in asked[1:]]
        waiting = service.workshop.batcher._waiting
        wait_until(lambda: sum(map(len, list(waiting.values()))) == 5)
        gate.open.set()
        answers: list[Future] = [first, *others]
        pixels = [np.asarray(Image.open(io.BytesIO(f.result().content))) for f in answers]
    assert sorted(gate.passes) == [1, 2, 3]
    alone = [np.asarray(Image.open(io.BytesIO(post(client, **form).content))) for form in asked]
    for one, other in zip(pixels, alone, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_a_bug_is_a_500_with_an_id_and_its_traceback_is_logged(serve, monkeypatch, capsys):
    def broken(*given, **named):
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(Stylizer, "render", broken)
    client = serve()
    capsys.readouterr()
    answer = post(client)
    assert answer.status_code == 500
    number = answer.headers["x-request-id"]
    assert answer.json() == {"error": f"internal error: the server's log has it under {number}"}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if number in line]
    assert "ZeroDivisionError: a secret detail" in line


def test_no_memory_is_a_503(serve, monkeypatch):
    def full(*given, **named):
        raise MemoryError

    monkeypatch.setattr(Stylizer, "render", full)
    answer = post(serve())
    assert answer.status_code == 503
    assert "out of memory" in answer.json()["error"]
