"""Picture quality: distances with known answers, on a network whose features are the picture."""

from collections.abc import Collection

import pytest
import torch
from torch import Tensor

from fst.losses.statistics import sliced_wasserstein
from fst.measuring.quality import (
    LAYERS,
    covariance_matrix,
    light_kept,
    measure_quality,
)

CONTENT = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
STYLE = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(2)) + 0.5
STYLE_DISTANCES = ("gram", "covariance", "wasserstein")


def identity(images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
    return dict.fromkeys(layers, images)


def shuffle(images: Tensor) -> Tensor:
    """The same pixels in another order."""
    order = torch.randperm(images[0, 0].numel(), generator=torch.Generator().manual_seed(3))
    return images.flatten(2)[..., order].view_as(images)


def test_identical_pictures_are_at_distance_zero():
    found = measure_quality(identity, STYLE, STYLE, STYLE)
    *distances, light = vars(found).values()
    assert distances == [0.0] * 5
    assert light == pytest.approx(1)


def test_style_distances_do_not_depend_on_where_pixels_are():
    found = measure_quality(identity, CONTENT, shuffle(STYLE), STYLE)
    for name in STYLE_DISTANCES:
        assert getattr(found, name) == pytest.approx(0, abs=1e-10)


def test_scaled_features_have_the_distances_of_their_factor():
    found = measure_quality(identity, CONTENT, 1.5 * STYLE, STYLE)
    assert found.gram == pytest.approx((1.5**2 - 1) ** 2, rel=1e-5)
    assert found.covariance == pytest.approx((1.5**2 - 1) ** 2, rel=1e-5)
    assert found.wasserstein == pytest.approx(0.5**2, rel=1e-5)


def test_shifted_features_change_gram_and_wasserstein_but_not_covariance():
    shift = torch.tensor([0.3, -0.2, 0.5])[:, None, None]
    found = measure_quality(identity, CONTENT, STYLE + shift, STYLE)
    assert found.covariance == pytest.approx(0, abs=1e-10)
    flat, moved = STYLE[0].flatten(1), (STYLE + shift)[0].flatten(1)
    gram, other = flat @ flat.T, moved @ moved.T
    expected = (other - gram).square().sum() / gram.square().sum()
    assert found.gram == pytest.approx(expected.item(), rel=1e-4)
    # On average over directions d of C dimensions, (d . v)^2 is |v|^2 / C.
    many = sliced_wasserstein(STYLE + shift, STYLE, directions=20_000)
    expected = shift.square().sum() / STYLE.square().sum(1).mean()
    assert many.item() == pytest.approx(expected.item(), rel=0.03)


def test_wasserstein_sees_distributions_of_equal_covariance():
    """Two values against the Gaussian of the same mean and deviation: 2 - 2 E|z|, E|z| the overlap.

    Sorted, the Gaussian's lower half is matched with -1 and its upper half with 1.
    """
    gaussian = torch.randn(1, 1, 400, 400)
    signs = torch.ones(1, 1, 400, 400)
    signs[..., :200] = -1
    assert covariance_matrix(signs).item() == 1
    expected = 2 - 2 * (2 / torch.pi) ** 0.5
    assert sliced_wasserstein(gaussian, signs).item() == pytest.approx(expected, rel=0.03)


def test_wasserstein_compares_sets_of_different_sizes():
    smooth = torch.linspace(0, 1, 4096).view(1, 1, 64, 64)
    coarse = torch.linspace(0, 1, 1024).view(1, 1, 32, 32)
    for one, other in ((smooth, coarse), (coarse, smooth)):
        assert sliced_wasserstein(one, other).item() < 1e-6
        assert sliced_wasserstein(one, 2 * other).item() == pytest.approx(0.25, rel=0.01)


def test_structure_ignores_palette_and_contrast_and_content_does_not():
    factors, offsets = torch.tensor([[0.5, 2, 3], [0.1, 0, -0.4]])[..., None, None]
    recoloured = measure_quality(identity, CONTENT, factors * CONTENT + offsets, STYLE)
    assert recoloured.structure == pytest.approx(0, abs=1e-6)
    assert recoloured.content > 0.5
    doubled = measure_quality(identity, CONTENT, 2 * CONTENT, STYLE)
    assert doubled.content == pytest.approx(1)
    negative = measure_quality(identity, CONTENT, 1 - CONTENT, STYLE)
    assert negative.structure == pytest.approx(4, rel=1e-5)
    unrelated = measure_quality(identity, CONTENT, shuffle(CONTENT), STYLE)
    assert unrelated.structure == pytest.approx(2, abs=0.2)


def test_quality_is_the_mean_over_pictures_and_layers():
    contents = torch.cat([CONTENT, CONTENT.flip(3)])
    stylized = torch.cat([1.5 * STYLE, STYLE])
    found = measure_quality(identity, contents, stylized, STYLE)
    assert found.wasserstein == pytest.approx(0.5**2 / 2, rel=1e-5)

    def weigh(images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        powers = dict(zip(LAYERS, (1, 1, 2), strict=True))
        return {layer: images ** powers[layer] for layer in layers}

    by_layer = measure_quality(weigh, CONTENT, 1.5 * STYLE, STYLE)
    assert by_layer.wasserstein == pytest.approx((2 * 0.5**2 + 1.25**2) / 3, rel=1e-5)


@pytest.mark.parametrize("blank", [0.0, 0.5, 0.8])
def test_a_blank_photograph_does_not_spoil_the_mean(blank: float):
    contents = torch.cat([CONTENT, torch.full_like(CONTENT, blank)])
    alone = measure_quality(identity, CONTENT, STYLE, STYLE)
    found = measure_quality(identity, contents, torch.cat([STYLE, STYLE]), STYLE)
    assert found.structure == pytest.approx(alone.structure / 2)
    assert found.content < 100


def light_from_the_left(height: int = 240, width: int = 320) -> Tensor:
    return torch.linspace(1, 0, width).expand(1, 3, height, width)


def test_light_is_the_correlation_of_large_areas():
    photo = light_from_the_left()
    assert light_kept(photo, photo) == pytest.approx(1)
    assert light_kept(photo, 0.3 * photo + 0.2) == pytest.approx(1)  # any contrast
    assert light_kept(photo, 1 - photo) == pytest.approx(-1)
    from_above = light_from_the_left(320, 240).mT
    assert light_kept(photo, from_above) == pytest.approx(0, abs=1e-4)


def test_light_does_not_see_strokes_but_patches():
    photo = light_from_the_left()

    def stripes(px: int) -> Tensor:
        return (torch.arange(240) // px % 2).float()[:, None].expand(1, 3, 240, 320)

    assert light_kept(photo, 0.5 * photo + 0.5 * stripes(2)) > 0.99
    assert light_kept(photo, 0.5 * photo + 0.5 * stripes(60)) < 0.75


def test_a_blank_photograph_asks_for_no_light():
    assert light_kept(torch.ones(1, 3, 64, 64), light_from_the_left(64, 64)) == 1
