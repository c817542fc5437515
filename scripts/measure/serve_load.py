"""Load a server of its own with clients, odd ones among them, and check every answer.

    python scripts/measure/serve_load.py --clients 8 --seconds 600

The server listens at 127.0.0.1, at a free port, for as long as the test runs. Each client sends one
request after the other: mostly photographs, but also damaged files, files that are none, too large
ones, impossible fields, bodies in chunks, and bodies that it leaves unfinished. A picture that
comes back is compared with what the model makes of it in this process. Any other status than the
request should get is wrong, unless the server is full (429, 503, 504).
"""

import argparse
import hashlib
import http.client
import io
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import psutil
from PIL import Image

import fst

MODELS = ("the_scream", "museum")
MAX_PIXELS = 1_000_000
MAX_BYTES = 8_000_000
FULL = (429, 503, 504)
TOLERANCE = 2
"""Levels of 255: sums of floats depend on how many threads there are."""
BOUNDARY = "b" * 30
PATIENCE_SECONDS = 120


@dataclass
class Kind:
    """One kind of request."""

    name: str
    body: bytes
    status: int
    expected: np.ndarray | None = None
    """The picture (H, W, 3), where there is one."""
    weight: float = 1.0
    chunked: bool = False
    leaves: bool = False
    """Whether the client goes after half of the body."""
    accepted: set[str] = field(default_factory=set)
    """Digests of files that were found to hold the expected picture."""


def form(picture: bytes, **fields: str) -> bytes:
    """Return a body in multipart."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    return b"".join([*parts, head.encode(), picture, f"\r\n--{BOUNDARY}--\r\n".encode()])


def drawn(width: int, height: int) -> Image.Image:
    """Return a picture with smooth colours and an edge."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    pixels = np.stack([255 * x, 255 * y, 128 + 100 * np.sin(20 * x + 9 * y)], axis=-1)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = (200, 30, 60)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def kinds() -> list[Kind]:
    """Return the kinds of requests, with what they should get."""
    made = []
    plain = fst.load("the_scream", "cpu")
    blend = fst.load("museum:udnie=0.5,the_scream=0.5", "cpu")
    for width, height in ((256, 192), (192, 256), (480, 360)):
        content = encoded(drawn(width, height), "JPEG")
        picture = Image.open(io.BytesIO(content))
        body = form(content, model="the_scream", format="png")
        expected = np.asarray(plain(picture))
        size = f"{width}x{height}"
        made.append(Kind(size, body, 200, expected, weight=4))
        made.append(Kind(f"{size} in chunks", body, 200, expected, chunked=True))
        weak = form(content, model="the_scream", format="png", strength="0.5", keep_colors="1")
        expected = np.asarray(plain(picture, strength=0.5, keep_colors=True))
        made.append(Kind(f"{size} weak", weak, 200, expected))
        blended = form(content, model="museum", style="udnie=0.5,the_scream=0.5", format="png")
        made.append(Kind(f"{size} blend", blended, 200, np.asarray(blend(picture))))
    jpeg = encoded(drawn(256, 192), "JPEG")
    large = encoded(Image.new("1", (40_000, 30_000)), "PNG")
    made += [
        Kind("unfinished", form(jpeg, model="the_scream"), 0, leaves=True),
        Kind("cut off", form(jpeg[:300], model="the_scream"), 415),
        Kind("text", form(b"no picture", model="the_scream"), 415),
        Kind("too many pixels", form(large, model="the_scream"), 413),
        Kind("too many bytes", form(bytes(MAX_BYTES), model="the_scream"), 413, weight=0.3),
        Kind("in chunks too many bytes", form(bytes(MAX_BYTES)), 413, weight=0.3, chunked=True),
        Kind("no model", form(jpeg, model="/etc/passwd"), 422),
        Kind("no number", form(jpeg, model="the_scream", strength="nan"), 422),
        Kind("no form", jpeg, 400),
    ]
    return made


class Tally:
    """What happened, for all clients."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answered = Counter[str]()
        self.refused = Counter[str]()
        self.wrong = Counter[str]()
        self.seconds: list[float] = []

    def note(self, kind: Kind, status: int, content: bytes, seconds: float) -> None:
        """Count an answer."""
        right = status == kind.status and (status != 200 or self.is_expected(kind, content))
        with self.lock:
            if status == 200 and right:
                self.answered[kind.name] += 1
                self.seconds.append(seconds)
            elif right or status in FULL:
                self.refused[f"{status} {reason_of(content)}"] += 1
            else:
                self.wrong[f"{kind.name}: {status} {reason_of(content)}"] += 1

    def is_expected(self, kind: Kind, content: bytes) -> bool:
        """Compare a picture with the expected one, unless the same file was compared before."""
        digest = hashlib.sha256(content).hexdigest()
        if digest in kind.accepted:
            return True
        pixels = np.asarray(Image.open(io.BytesIO(content)))
        assert kind.expected is not None
        if pixels.shape != kind.expected.shape:
            return False
        if int(np.abs(pixels.astype(int) - kind.expected).max()) > TOLERANCE:
            return False
        kind.accepted.add(digest)
        return True


def reason_of(content: bytes) -> str:
    """Return why a request was refused, in the server's words."""
    try:
        return str(json.loads(content)["error"])[:70]
    except (ValueError, KeyError):
        return f"{len(content)} bytes"


def chunks(body: bytes) -> Iterator[bytes]:
    """Yield a body in parts, so that its length is not said."""
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


def client(port: int, made: list[Kind], until: float, tally: Tally, seed: int) -> None:
    """Send requests until the time is over."""
    chance = random.Random(seed)
    weights = [kind.weight for kind in made]
    while time.monotonic() < until:
        (kind,) = chance.choices(made, weights)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        began = time.monotonic()
        try:
            if kind.leaves:
                connection.putrequest("POST", "/stylize")
                connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
                connection.putheader("Content-Length", str(len(kind.body)))
                connection.endheaders(kind.body[: len(kind.body) // 2])
                with tally.lock:
                    tally.refused["0 left by the client"] += 1
                continue
            headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            body = chunks(kind.body) if kind.chunked else kind.body
            connection.request("POST", "/stylize", body, headers)
            answer = connection.getresponse()
            tally.note(kind, answer.status, answer.read(), time.monotonic() - began)
            if answer.status == 429:
                time.sleep(float(answer.headers["Retry-After"]) * chance.random())
        except OSError as error:
            with tally.lock:
                tally.wrong[f"{kind.name}: {error!r}"[:100]] += 1
        finally:
            connection.close()


class Server:
    """`fst serve` in a process of its own."""

    def __init__(self, flags: list[str]) -> None:
        command = [sys.executable, "-m", "fst", "serve", *MODELS, "--port", "0", *flags]
        command += ["--max-pixels", str(MAX_PIXELS), "--max-bytes", str(MAX_BYTES)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(json.loads(self.process.stdout.readline())["url"].rpartition(":")[2])
        self.errors: list[str] = []
        self.peak = 0
        self.first = 0
        """Bytes of memory a fifth of a second after it listens."""
        self.threads = [threading.Thread(target=each) for each in (self.read, self.watch)]
        for thread in self.threads:
            thread.start()

    def read(self) -> None:
        """Read its log to the end; keep what tells of bugs."""
        assert self.process.stdout
        self.errors += [line for line in self.process.stdout if "traceback" in line]

    def watch(self) -> None:
        """Follow its memory."""
        process = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            time.sleep(0.2)
            try:
                resident = process.memory_info().rss
            except psutil.Error:
                break
            self.first = self.first or resident
            self.peak = max(self.peak, resident)

    def end(self) -> int:
        """End it with SIGTERM; return its exit status."""
        self.process.terminate()
        status = self.process.wait(PATIENCE_SECONDS)
        for thread in self.threads:
            thread.join()
        return status


def main() -> int:
    """Run the test; 1 if any answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8, help="at most 256")
    parser.add_argument("--seconds", type=float, default=60, help="at most 3600")
    given, flags = parser.parse_known_args()
    clients, seconds = min(given.clients, 256), min(given.seconds, 3600)
    made = kinds()
    server, tally = Server(flags), Tally()
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=client, args=(server.port, made, until, tally, seed))
        for seed in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = server.end()
    report(tally, server, status, f"{clients} clients, {seconds:g} s")
    return int(bool(tally.wrong or server.errors or status))


def report(tally: Tally, server: Server, status: int, title: str) -> None:
    """Print what happened."""
    print(title)
    print(f"answered {tally.answered.total()}, each compared with the expected picture")
    for name, count in sorted(tally.answered.items()):
        print(f"  {count:6} {name}")
    print(f"refused {tally.refused.total()}")
    for name, count in sorted(tally.refused.items()):
        print(f"  {count:6} {name}")
    print(f"wrong {tally.wrong.total()}")
    for name, count in sorted(tally.wrong.items()):
        print(f"  {count:6} {name}")
    if len(tally.seconds) > 1:
        parts = statistics.quantiles(tally.seconds, n=100)
        print(f"seconds to an answer: p50 {parts[49]:.2f}, p99 {parts[98]:.2f}")
    print(f"memory of the server: {server.first / 1e6:.0f} MB at first, {server.peak / 1e6:.0f} MB")
    print(f"exit status {status}, bugs in its log: {len(server.errors)}", *server.errors[:3])


if __name__ == "__main__":
    sys.exit(main())
