"""Run the webcam on a virtual display, with keys and screenshots; slow it down; unplug the camera.

python scripts/measure/webcam_trial.py VIDEO OUT_FOLDER MODEL... [--slower 10] [--seconds 6]

Needs Xvfb, xdotool and ImageMagick. It prints the latencies at full and at reduced speed, at the
same working size, and what happens when the camera is unplugged or stalls: a stream that ends or
stops.
"""

import argparse
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KEYS = ("h", "h", "n", "c", "minus", "minus", "bracketright", "s", "r")


def main() -> None:
    """Run the trials one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--slower", type=float, default=10)
    parser.add_argument(
        "--seconds", type=float, default=6, help="of each run in the window, without its keys"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    models = [str(Path(model).resolve()) for model in given.models]
    video, out = str(given.video.resolve()), given.out.resolve()
    with virtual_display() as display:
        trial = Trial(models, out, {**os.environ, "DISPLAY": display}, given.seconds)
        full = trial.in_window("full speed", 1, camera=video)
        size = int(re.findall(r"working size (\d+) px", full)[0])
        slow = f"{given.slower:g} times slower"
        trial.in_window(slow, given.slower, camera=video, size=size)
        trial.in_window(f"{slow}, with keys", given.slower, KEYS, camera=video, size=size)
        trial.in_window("with keys", 1, KEYS, camera=video)
    for name, then in (("unplugged", socket.socket.close), ("stalled", lambda _: time.sleep(8))):
        with camera_stream(seconds=4, then=then) as url:
            trial.record(name, camera=url, size=size)


class Trial:
    """Runs the webcam in a separate process and prints its output."""

    def __init__(
        self, models: list[str], out: Path, environment: dict[str, str], seconds: float
    ) -> None:
        self.models = models
        self.out = out
        self.environment = environment
        self.seconds = seconds

    def in_window(
        self, name: str, slower: float, keys: tuple[str, ...] = (), **options: Any
    ) -> str:
        """Take screenshots while keys are pressed, then quit; return the output."""
        print(f"== {name}", flush=True)
        process = self._start(slower, options)
        self._do("xdotool", "search", "--sync", "--onlyvisible", "--name", "fst webcam")
        self._do("xdotool", "search", "--name", "fst webcam", "windowfocus")
        time.sleep(self.seconds / 2)
        self._screenshot(f"{name}.png")
        for number, key in enumerate(keys, 1):
            self._do("xdotool", "key", key)
            time.sleep(0.15)  # much less than a frame takes when the network is slowed
            if key in ("h", "r"):
                self._screenshot(f"{name}, {number} {key}.png")
        time.sleep(self.seconds / 2)
        pressed = time.monotonic()
        self._do("xdotool", "key", "q")
        output = process.communicate()[0]
        print(output, end="")
        print(f"ended {time.monotonic() - pressed:.2f} s after q, status {process.returncode}")
        return output

    def record(self, name: str, **options: Any) -> None:
        """Record without a window until the camera is lost; count the frames in the file."""
        import av

        print(f"== {name}", flush=True)
        path = self.out / f"{name}.mp4"
        path.unlink(missing_ok=True)
        process = self._start(1, {**options, "output": str(path), "headless": True})
        print(process.communicate()[0], end="")
        with av.open(str(path)) as file:
            times = [frame.time for frame in file.decode(video=0)]
        print(f"status {process.returncode}; {len(times)} frames, the last at {times[-1]:.2f} s")

    def _start(self, slower: float, options: dict[str, Any]) -> subprocess.Popen[str]:
        code = f"""
import time
from pathlib import Path
from fst import errors
from fst.webcam import command as webcam
from fst.stylizing.stylizer import Stylizer

call = Stylizer.render

def slowly(*args, **kwargs):
    started = time.monotonic()
    result = call(*args, **kwargs)
    time.sleep({slower - 1} * (time.monotonic() - started))
    return result

Stylizer.render = slowly
options = {options!r}
if "output" in options:
    options["output"] = Path(options["output"])
with errors.one_line_errors("fst", "use a smaller --size"):
    webcam.webcam({self.models!r}, **options, say=lambda line: print(line, flush=True))
"""
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=self.out,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _screenshot(self, name: str) -> None:
        self._do("import", "-window", "root", str(self.out / name))

    def _do(self, *command: str) -> str:
        return subprocess.run(
            command, env=self.environment, check=True, text=True, stdout=subprocess.PIPE
        ).stdout


@contextmanager
def virtual_display() -> Iterator[str]:
    """Start an X server with a virtual screen; yield the name of its display."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1024x640x24", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    try:
        yield f":{os.read(reading, 16).decode().strip()}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def camera_stream(seconds: float, then: Any) -> Iterator[str]:
    """Serve one client an MJPEG stream like a network camera, for `seconds`; yield its URL."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = server.accept()
        client.recv(4096)
        head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n"
        client.sendall(head)
        started = None
        for index in range(10_000):
            time.sleep(1 / 30)
            y, x = np.mgrid[0:480, 0:640]
            pixels = np.stack([x % 256, y % 256, (x + 4 * index) % 256], axis=-1)
            jpeg = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(jpeg, "jpeg")
            part = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.tell()}\r\n\r\n"
            try:
                client.sendall(part.encode() + jpeg.getvalue() + b"\r\n")
            except OSError:
                return
            started = started or time.monotonic()
            if time.monotonic() - started > seconds:
                break
        then(client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        server.close()


if __name__ == "__main__":
    main()
