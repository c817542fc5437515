"""A site on 127.0.0.1 and Chromium to look at it, for the tests of the page."""

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

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

    def __init__(self, *args: Any, headers: Mapping[str, str], **options: Any) -> None:
        self.more_headers = headers
        super().__init__(*args, **options)

    def end_headers(self) -> None:
        for name, value in self.more_headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path, headers: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Serve a folder, with these headers beside the usual ones; yield its address."""
    handler = partial(_Quiet, directory=str(folder), headers=headers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
