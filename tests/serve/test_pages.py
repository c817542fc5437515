"""What there is beside `POST /stylize`: models, thumbnails, counters, pages, headers, the log."""

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from samples import jpeg_of

pytest.importorskip("fastapi", reason="pip install 'fst-style-transfer[serve]'")


def test_models_are_listed_with_their_paintings(serve):
    client = serve()
    tiny, museum, takes_any = client.get("/models").json()
    assert (tiny["name"], tiny["styles"], tiny["takes_paintings"]) == ("tiny", [], False)
    assert museum["licence"] == "CC BY 4.0"
    scream = next(style for style in museum["styles"] if style["name"] == "the_scream")
    assert (scream["title"], scream["artist"], scream["year"]) == (
        "The Scream",
        "Edvard Munch",
        "1893",
    )
    assert takes_any["takes_paintings"]
    for address in (tiny["thumbnail"], scream["thumbnail"]):
        answer = client.get(address)
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (192, 192)


def test_a_thumbnail_is_made_once_and_differs_from_others(serve, monkeypatch):
    client = serve()
    workshop = client.app.state.service.workshop
    made = []
    work = workshop.work
    monkeypatch.setattr(workshop, "work", lambda order: (made.append(order.style), work(order))[1])
    first, second = (client.get("/models/museum/thumbnail").content for _ in range(2))
    other = client.get("/models/museum/thumbnail?style=udnie").content
    assert first == second != other
    assert made == ["composition_vii", "udnie"]
    for address in (
        "/models/nothing/thumbnail",
        "/models/museum/thumbnail?style=udnie=1,mondrian=1",
        "/models/tiny/thumbnail?style=udnie",
        "/models/any/thumbnail?style=/etc/passwd",
        "/models/..%2f..%2fetc%2fpasswd/thumbnail",
    ):
        assert client.get(address).status_code == 404


def test_what_was_done_is_counted_and_logged(serve, capsys):
    client = serve()
    capsys.readouterr()
    files = {"picture": jpeg_of(40)}
    answer = client.post("/stylize", files=files, data={"model": "tiny"})
    client.post("/stylize", files=files, data={"model": "\x1b[31m\n{}"})
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["id"] == answer.headers["x-request-id"]
    assert (first["status"], first["model"], first["pixels"]) == (200, "tiny", 1600)
    assert first["ms"] >= first["ms_worked"] > 0
    assert (second["status"], second["model"]) == (422, "")
    assert "no model" in second["reason"]
    counted = client.get("/metrics").text
    assert 'fst_requests_total{model="tiny",status="200"} 1.0' in counted
    assert "fst_pixels_total 1600.0" in counted
    assert "fst_worked_seconds_count 1.0" in counted


def test_pages_load_nothing_from_elsewhere(serve):
    client = serve()
    for address in ("/", "/docs"):
        page = client.get(address)
        assert page.headers["content-type"].startswith("text/html")
        assert not re.search(r"https?://|<script|<link|<img|style=", page.text)
    described = client.get("/openapi.json").json()
    form = described["components"]["schemas"]["StylizeForm"]["properties"]
    for name in form:
        assert f"<code>{name}</code>" in client.get("/docs").text
    assert set(described["paths"]) >= {"/stylize", "/models", "/healthz", "/metrics"}


def test_answers_have_the_headers_that_make_browsers_careful(serve, tmp_path: Path):
    (tmp_path / "index.html").write_text("<title>page</title>")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.onnx").write_bytes(b"onnx")
    (tmp_path / "ort.mjs").write_text("")
    (tmp_path / "ort.wasm").write_bytes(b"")
    client = serve(site=tmp_path)
    page = client.get("/")
    assert page.text == "<title>page</title>"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["cross-origin-embedder-policy"] == "require-corp"
    assert "'wasm-unsafe-eval'" in page.headers["content-security-policy"]
    assert client.get("/models/a.onnx").content == b"onnx"
    assert len(client.get("/models").json()) == 3
    assert client.get("/ort.mjs").headers["content-type"].startswith("text/javascript")
    assert client.get("/ort.wasm").headers["content-type"] == "application/wasm"
    for address in ("/", "/models", "/docs", "/nothing", "/models/tiny/thumbnail"):
        headers = client.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
    for address in ("/../pyproject.toml", "/%2e%2e/%2e%2e/etc/passwd", "/a%00b", "/" + "x" * 5000):
        assert client.get(address).status_code == 404


def test_only_the_origins_that_were_named_may_ask_from_browsers(serve):
    client = serve(origins=("https://example.org",))
    for origin, allowed in (("https://example.org", True), ("https://example.com", False)):
        answer = client.get("/models", headers={"origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
