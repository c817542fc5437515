"""PSNR, SSIM and GMSD: analytic values, and those of scikit-image."""

import math

import pytest
import torch

from fst.pictures.fidelity import gmsd, psnr, ssim, studio_luminance


def test_luminance_has_the_studio_range():
    black_and_white = torch.stack([torch.zeros(3), torch.ones(3)])[..., None, None]
    assert studio_luminance(black_and_white).flatten().tolist() == pytest.approx([16, 235])


def test_psnr_of_a_constant_difference():
    original = torch.full((1, 3, 20, 20), 100 / 255)
    found = psnr(original + 10 / 255, original).item()
    assert found == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)))
    assert psnr(original + 10 / 255, original, grey=True).item() == pytest.approx(
        20 * math.log10(255 / 10)
    )
    assert math.isinf(psnr(original, original))


def test_the_border_is_left_out():
    original = torch.rand(1, 3, 20, 20)
    spoilt = original.clone()
    spoilt[..., :4, :] = 0
    assert math.isfinite(psnr(spoilt, original, border=3))
    assert math.isinf(psnr(spoilt, original, border=4))


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    original = torch.rand(2, 3, 40, 50)
    noisy = (original + 0.1 * torch.randn_like(original)).clamp(0, 1)
    found = ssim(noisy, original)
    for number in range(2):
        one, other = (studio_luminance(x)[number, 0].numpy() for x in (noisy, original))
        _, similarity = metrics.structural_similarity(
            one, other, data_range=255, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, full=True,
        )  # fmt: skip
        assert found[number].item() == pytest.approx(similarity[5:-5, 5:-5].mean(), abs=1e-9)


def test_gmsd_is_zero_for_equal_pictures_and_grows_with_what_is_lost():
    original = torch.rand(1, 3, 64, 64)
    blurred = [
        torch.nn.functional.avg_pool2d(original, 2 * r + 1, 1, r, count_include_pad=False)
        for r in (1, 2)
    ]
    none, some, more = (gmsd(each, original).item() for each in (original, *blurred))
    assert none == 0 < some < more
