"""How close an enlarged picture is to the original, by the customary protocol of super-resolution.

Pictures are (N, 3, H, W) in [0, 1], on the CPU. They are rounded to 8 bits and reduced to the
luminance of ITU-R BT.601 in studio range (16 to 235), without a border of `border` pixels. `grey`
pictures, whose files hold one channel, are compared by its values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fst.pictures.image import in_8_bits, luminance


def studio_luminance(image: Tensor) -> Tensor:
    """Return Y of BT.601, (N, 1, H, W) in [16, 235], of pictures rounded to 8 bits."""
    return 16 + 219 * luminance(in_8_bits(image).double())


def psnr(image: Tensor, original: Tensor, border: int = 0, grey: bool = False) -> Tensor:
    """Return the peak signal-to-noise ratio, (N,) in dB; infinite for equal pictures."""
    one, other = _both(image, original, border, grey)
    return 10 * torch.log10(255**2 / (one - other).square().mean((1, 2, 3)))


def ssim(image: Tensor, original: Tensor, border: int = 0, grey: bool = False) -> Tensor:
    """Return the structural similarity, (N,), 1 for equal pictures (Wang et al. 2004).

    With their window of 11x11 pixels (Gaussian, standard deviation 1.5), where it fits whole.
    """
    one, other = _both(image, original, border, grey)
    along = torch.arange(-5, 6, dtype=torch.float64).square().div(-2 * 1.5**2).exp()
    along = (along / along.sum()).to(one.device)[None, None]

    def local(x: Tensor) -> Tensor:  # the window is a product: one direction, then the other
        return F.conv2d(F.conv2d(x, along[..., None]), along[..., None, :])

    mean1, mean2 = local(one), local(other)
    variance1, variance2 = local(one**2) - mean1**2, local(other**2) - mean2**2
    covariance = local(one * other) - mean1 * mean2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean1 * mean2 + c1) * (2 * covariance + c2)) / (
        (mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2)
    )
    return similarity.mean((1, 2, 3))


def gmsd(image: Tensor, original: Tensor, border: int = 0, grey: bool = False) -> Tensor:
    """Return the gradient magnitude similarity deviation, (N,), 0 for equal pictures.

    Xue et al. 2014, "Gradient magnitude similarity deviation": means of 2x2 pixels, Prewitt
    gradients, c = 170; a lower value is a picture whose edges look alike.
    """
    one, other = (F.avg_pool2d(each, 2) for each in _both(image, original, border, grey))
    prewitt = one.new_tensor([[1.0, 0, -1]] * 3)[None, None] / 3
    filters = torch.cat([prewitt, prewitt.transpose(2, 3)])

    def gradient(x: Tensor) -> Tensor:
        return F.conv2d(x, filters).square().sum(1).sqrt()

    g1, g2 = gradient(one), gradient(other)
    similarity = (2 * g1 * g2 + 170) / (g1**2 + g2**2 + 170)
    return similarity.flatten(1).std(1, correction=0)


def _both(image: Tensor, original: Tensor, border: int, grey: bool) -> tuple[Tensor, Tensor]:
    """Return what is compared, each (N, 1, H, W) in levels of 255."""
    if grey:  # in studio range its errors would be a seventh smaller
        one, other = (in_8_bits(each).double().mean(1, True) * 255 for each in (image, original))
    else:
        one, other = studio_luminance(image), studio_luminance(original)
    return _inner(one, border), _inner(other, border)


def _inner(image: Tensor, border: int) -> Tensor:
    return image[..., border : image.shape[-2] - border, border : image.shape[-1] - border]
