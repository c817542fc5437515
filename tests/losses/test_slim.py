"""The small loss network: what lies in the package, and that it stands for VGG16."""

from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from fst.config import SLIM_LAYERS, RelativeLossConfig
from fst.losses.objective import towards
from fst.losses.relative import RelativeLoss
from fst.losses.slim import Slim, load_slim
from fst.losses.statistics import gram_matrix
from fst.losses.vgg import VGG16, load_vgg16
from fst.pictures.image import files_below, read_image, resize

WEIGHTS = Path(str(resources.files("fst.losses"))) / "slim.safetensors"


@pytest.fixture(scope="module")
def slim() -> Slim:
    return load_slim()


def test_the_weights_are_small_and_say_where_they_come_from():
    assert WEIGHTS.stat().st_size <= 2_000_000
    with safe_open(WEIGHTS, "pt") as file:
        assert "CC BY 4.0" in file.metadata()["licence"]
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_it_is_called_as_vgg16_is(slim: Slim, random_vgg: Path):
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    image = torch.rand(2, 3, 37, 46)
    ours, theirs = slim(image, SLIM_LAYERS), vgg(image, SLIM_LAYERS)
    assert ours.keys() == theirs.keys()
    for layer in SLIM_LAYERS:
        assert ours[layer].shape[2:] == theirs[layer].shape[2:]
    assert slim(image, ["relu1_2"]).keys() == {"relu1_2"}


def test_only_the_layers_up_to_the_deepest_are_run(slim: Slim):
    ran = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in slim.convolutions.items()
    ]
    slim(torch.rand(1, 3, 8, 8), ["relu2_2", "relu1_2"])
    for hook in hooks:
        hook.remove()
    assert ran == ["relu1_1", "relu1_2", "relu2_1", "relu2_2"]


def test_it_is_frozen_but_lets_gradients_through(slim: Slim):
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    slim(image, ["relu3_3"])["relu3_3"].sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in slim.parameters())


def test_its_relative_distances_are_those_in_vgg16_s_channels(slim: Slim):
    one, other = (
        slim(torch.rand(1, 3, 32, 32), SLIM_LAYERS),
        slim(torch.rand(1, 3, 32, 32) / 2, SLIM_LAYERS),
    )
    for layer in SLIM_LAYERS:
        back = [torch.einsum("nchw,dc->ndhw", f[layer], slim.basis(layer)) for f in (one, other)]
        assert back[0].shape[1] == {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256}[layer]
        for a, b, x, y in (
            (one[layer], other[layer], *back),
            *[tuple(map(gram_matrix, (one[layer], other[layer], *back)))],
        ):
            here = (a - b).square().sum() / b.square().sum()
            there = (x - y).square().sum() / y.square().sum()
            torch.testing.assert_close(here, there, rtol=5e-3, atol=0)  # the basis is kept in fp16


@pytest.mark.shared
def test_its_features_and_its_loss_are_those_of_vgg16():
    from samples import SHARED

    slim = load_slim()
    vgg: VGG16 = load_vgg16(
        SHARED / "data" / "vgg16" / "vgg16_conv1_1_to_conv3_3.safetensors", "relu3_3"
    )
    photos = [resize(read_image(f), 128) for f in files_below(SHARED / "data/photos/val")[:8]]
    for photo in photos:
        ours, theirs = slim(photo, SLIM_LAYERS), vgg(photo, SLIM_LAYERS)
        for layer, most in zip(SLIM_LAYERS, (0.05, 0.12, 0.25), strict=True):
            back = torch.einsum("nchw,dc->ndhw", ours[layer], slim.basis(layer))
            assert (back - theirs[layer]).square().sum() < most * theirs[layer].square().sum()
    style = resize(read_image(SHARED / "data/styles/the_scream.jpg"), 128)
    losses = [
        towards(RelativeLoss(network, RelativeLossConfig()), style) for network in (slim, vgg)
    ]
    for photo, other in zip(photos, photos[1:], strict=False):
        other = other[..., : photo.shape[-2], : photo.shape[-1]]
        photo = photo[..., : other.shape[-2], : other.shape[-1]]
        here, there = (loss(photo, other) for loss in losses)
        for term in ("content", "style"):
            torch.testing.assert_close(here[term], there[term], rtol=0.15, atol=0.02)
