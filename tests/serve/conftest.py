"""Servers within the test's process, with tiny models."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fst.models.model_ref import ModelRef, find_model


@pytest.fixture
def serve(tiny_model: Path) -> Iterator[Callable[..., object]]:
    """Return a client of a server of the tiny model, `museum` and `any`; takes its limits."""
    pytest.importorskip("fastapi", reason="pip install 'fst-style-transfer[serve]'")
    from starlette.testclient import TestClient

    from fst.serve.app import make_app
    from fst.serve.catalogue import Catalogue, ServedModel
    from fst.serve.limits import Limits

    refs = [ModelRef(tiny_model), find_model("museum"), find_model("any")]
    with ExitStack() as open_clients:

        def start(site: Path | None = None, origins: tuple[str, ...] = (), **limits: object):
            catalogue = Catalogue([ServedModel(ref, "cpu", "fp32") for ref in refs])
            app = make_app(catalogue, Limits(**{"workers": 1, **limits}), site, origins)
            return open_clients.enter_context(TestClient(app))

        yield start
