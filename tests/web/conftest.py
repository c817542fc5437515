"""What the tests of the page share: tiny models, and a site of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from samples import draw_picture
from torch import nn

from fst.models.model_file import describe, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import ModelRef
from fst.networks.fast import Fast
from fst.networks.styled import StyledNetwork
from fst.web.runtime import FILES

LANDSCAPES = [
    StyleInfo("sea", card={"title": "The Sea", "artist": "A. Painter", "year": "1900"}),
    StyleInfo("sky"),
]


@pytest.fixture(scope="session")
def tiny_any(contrasty: Callable[..., Fast], make_once: Callable[..., Path]) -> Path:
    """A tiny model of two styles and of any painting, which it sees at 64 pixels."""

    def save(path: Path) -> None:
        network = contrasty(residual_blocks=0, coarse_blocks=0)
        styled = StyledNetwork(network, 2, predicts=True, code_size=8, hidden=16)
        nn.init.normal_(styled.mapper[-1].weight, std=0.1)
        nn.init.normal_(styled.palettes, std=0.1)
        info = describe(styled, title="Any", styles=LANDSCAPES, predictor_px=64, palette_share=0.9)
        save_model(path, styled.eval(), info)

    return make_once("anything.safetensors", save)


@pytest.fixture(scope="session")
def tiny_half(contrasty: Callable[..., Fast], make_once: Callable[..., Path]) -> Path:
    """A tiny model of one style in half precision, as released models are."""

    def save(path: Path) -> None:
        network = contrasty(residual_blocks=0, coarse_blocks=0)
        save_model(path, network.half(), describe(network, title="Half"))

    return make_once("half.safetensors", save)


@pytest.fixture(scope="session")
def stub_ort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like onnxruntime-web's, without the 41 MB."""
    dist = tmp_path_factory.mktemp("ort") / "package" / "dist"
    dist.mkdir(parents=True)
    for name in FILES:
        (dist / name).write_text(f"// {name}")
    (dist.parent / "package.json").write_text('{"version": "1.99.0"}')
    return dist


@pytest.fixture(scope="session")
def site(tiny_half: Path, tiny_any: Path, stub_ort: Path, make_once: Callable[..., Path]) -> Path:
    """A site of both models, without a runtime."""
    pytest.importorskip("onnxscript", reason="pip install 'fst-style-transfer[export]'")
    from fst.web.site import build_site

    def build(path: Path) -> None:
        photo = draw_picture(path.with_name("example.png"), 7, 240, 200)
        models = [ModelRef(model) for model in (tiny_half, tiny_any)]
        build_site(path, models, [photo], stub_ort)

    return make_once("site", build)
