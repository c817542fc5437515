"""The process: a socket, the application on it, and how it ends."""

import math
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import uvicorn
from PIL import Image

from fst.errors import UserError
from fst.serve import log
from fst.serve.app import make_app
from fst.serve.catalogue import Catalogue
from fst.serve.limits import Limits

_CONNECTIONS = 1000


def run_server(
    catalogue: Catalogue,
    limits: Limits,
    host: str,
    port: int,
    site: Path | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Answer requests until SIGINT or SIGTERM, then finish what began, and return.

    Args:
        catalogue: the models that are offered.
        limits: what is taken on.
        host: the address to listen at.
        port: and its port; 0 takes a free one.
        site: as for `make_app`.
        origins: as for `make_app`.

    Raises:
        OSError: the port is taken, or there is no such address.
        UserError: `site` is not a site, or the port not one.
    """
    if site is not None and not (site / "index.html").is_file():
        raise UserError(f"{site} is not a site: it has no index.html; `fst web` writes one")
    if not 0 <= port < 65536:
        raise UserError(f"port={port} must be from 0 to 65535")
    # Pillow refuses twice as many: also those that a picture within a picture has.
    Image.MAX_IMAGE_PIXELS = max(1, limits.max_pixels // 2)
    log.take_over_logging()
    config = uvicorn.Config(
        make_app(catalogue, limits, site, origins),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=math.ceil(limits.timeout),
    )
    with closing(_listen(host, port)) as listening:
        at = f"[{host}]" if ":" in host else host
        log.write(
            message="listening",
            url=f"http://{at}:{listening.getsockname()[1]}",
            models=list(catalogue.models),
        )
        # Raised again by uvicorn once it has finished.
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listening])
    log.write(message="ended")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen at {host}:{port}: {error.strerror}") from error
