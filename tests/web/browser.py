"""A site on 127.0.0.1 and Chromium to look at it, for the tests of the page."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fst.cache import cache_path
from fst.web.runtime import FILES, PACKAGE, VERSION

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def find_ort() -> Path | None:
    """Return a folder with onnxruntime-web: `FST_ORT_WEB`, or what `fst web` has downloaded."""
    given = os.environ.get("FST_ORT_WEB")
    folder = Path(given) if given else cache_path(f"{PACKAGE}-{VERSION}")
    return folder if all((folder / name).is_file() for name in FILES) else None


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder without any special headers; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
