"""What pictures are compared by: Gram matrices, moments, differences between neighbours.

Shapes: N pictures, C channels, H x W pixels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 1e-3
"""Mean square of standardised features below which a picture is blank: of others it is about 1."""


def gram_matrix(features: Tensor) -> Tensor:
    """Return G = F F^T / (H W), the channels' correlations (Gatys et al. 2016, eq. 3).

    Args:
        features: (N, C, H, W).

    Returns:
        (N, C, C), at least fp32: sums over thousands of squares overflow half precision.
    """
    with torch.autocast(features.device.type, enabled=False):
        flat = at_least_fp32(features).flatten(2)
        return flat @ flat.mT / flat.shape[-1]


def moments(features: Tensor) -> Tensor:
    """Return the channels' covariance matrix and, as its last column, their mean.

    Args:
        features: (N, C, H, W).

    Returns:
        (N, C, C + 1), at least fp32.
    """
    with torch.autocast(features.device.type, enabled=False):
        result: Tensor = _Moments.apply(features)
        return result


class _Moments(torch.autograd.Function):
    """Written out because autograd keeps and subtracts far more: half of a step's time on a CPU."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        flat = at_least_fp32(features).permute(0, 2, 3, 1).flatten(1, 2)
        mean = flat.mean(1, keepdim=True)
        centred = flat - mean
        ctx.save_for_backward(centred)
        ctx.features = (features.shape, features.dtype)
        return torch.cat([centred.mT @ centred / flat.shape[1], mean.mT], dim=2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (centred,) = ctx.saved_tensors
        (n, channels, height, width), dtype = ctx.features
        pixels = centred.shape[1]
        by_covariance, by_mean = gradients[0][..., :-1], gradients[0][..., -1:]
        # What the mean's own dependence on a pixel adds to the covariance sums to zero.
        back = torch.baddbmm(
            by_mean.mT / pixels, centred, (by_covariance + by_covariance.mT) / pixels
        )
        return back.to(dtype).view(n, height, width, channels).permute(0, 3, 1, 2)


def standardise(features: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Return features (N, C, H, W) with each channel at mean 0 and variance 1, at least fp32."""
    wide = at_least_fp32(features)
    variance, mean = torch.var_mean(wide, (2, 3), keepdim=True, correction=0)
    return (wide - mean) * (variance + epsilon).rsqrt()


def squared_distance(value: Tensor, target: Tensor) -> Tensor:
    """Return (N,): the sum of squared differences of each picture, at least in fp32."""
    return (at_least_fp32(value) - target).square().flatten(1).sum(1)


def relative_distance(value: Tensor, target: Tensor, smallest: float = 1e-12) -> Tensor:
    """Return (N,): the squared distance of each to its target, as a share of the target's size.

    It is 0 where the target's mean square is below `smallest`: nothing but rounding errors.
    """
    least = smallest * target[0].numel()
    size = at_least_fp32(target).square().flatten(1).sum(1)
    return squared_distance(value, target) * (size > least) / size.clamp_min(least)


def sliced_wasserstein(
    features: Tensor, target: Tensor, directions: int = 64, seed: int = 0
) -> Tensor:
    """Return a scalar: the sliced Wasserstein-2 distance of two sets of feature vectors, relative.

    Both are projected on random unit vectors; the mean squared difference of the sorted projections
    (Heitz et al. 2021, "A sliced Wasserstein loss for neural texture synthesis", eq. 3) is divided
    by the mean square of the target's. Unlike there, the sets may differ in size: the target's
    sorted projections are interpolated to the other's count.

    Args:
        features: (1, C, H, W).
        target: (1, C, H', W').
        directions: how many.
        seed: of the directions.
    """
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(directions, features.shape[1], generator=generator)
    vectors = F.normalize(vectors, dim=1).to(features)
    projected, aim = (
        (vectors @ each.flatten(2)[0]).sort(dim=1).values for each in (features, target)
    )
    if aim.shape != projected.shape:
        aim = F.interpolate(aim[None], projected.shape[1], mode="linear")[0]
    return (projected - aim).square().mean() / aim.square().mean().clamp_min(1e-12)


def differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences between horizontal and vertical neighbours of (N, C, H, W)."""
    return image.diff(dim=3), image.diff(dim=2)


def mean_absolute_difference(image: Tensor) -> Tensor:
    """Return (N,) in [0, 2]: how far apart horizontal and vertical neighbours are."""
    across, down = differences(at_least_fp32(image))
    return across.abs().mean((1, 2, 3)) + down.abs().mean((1, 2, 3))


def at_least_fp32(values: Tensor) -> Tensor:
    """Return the values in fp32, or as they are if they are in fp64."""
    return values if values.dtype == torch.float64 else values.float()
