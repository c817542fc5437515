"""`fst serve`: models behind an HTTP interface."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fst.serve.limits import Limits


def serve(
    *models: str,
    site: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Annotated[Limits, Parameter(name="*")] = Limits(),  # noqa: B008, it is frozen
    allow_origin: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Serve models over HTTP until Ctrl-C or SIGTERM: POST /stylize, GET /models, /docs, /metrics.

    Args:
        models: Model files, run folders, or names of runs or of released models. Default: all
            released models that stylize. Clients choose among these and their styles; they cannot
            name files.
        site: A folder that `fst web` wrote: its page is shown at /.
        host: The address to listen at; 0.0.0.0 is every one of the machine, without encryption or
            passwords.
        port: The port to listen at; 0 takes a free one.
        limits: What it takes on.
        allow_origin: A site whose pages may use it from browsers, such as https://example.org;
            repeat it for several.
        device: cuda, mps, cpu ...; auto takes the first available.
        dtype: fp32, fp16 or bf16; auto takes the fastest on the device.
    """
    try:
        from fst.serve.server import run_server
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed: pip install 'fst-style-transfer[serve]'"
        ) from error
    from fst.serve.catalogue import open_catalogue

    run_server(open_catalogue(models, device, dtype), limits, host, port, site, allow_origin)
