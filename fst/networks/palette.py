"""A style's palette: how its pictures' colours are moved towards those of the painting.

A squared distance to statistics that vary between pictures, and between the parts of one, is
smallest below them: the pictures have the style's hues, but not its contrast. A
matrix on the three channels of the output makes up for it, and costs nothing, as the network's last
convolution takes it in.

A palette (3, 4) is the change of what enters the output's nonlinearity, z: a matrix beside an
offset, so that z becomes z + matrix z + offset. Zeros change nothing, and palettes blend linearly.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fst.networks.layers import Clamp, ScaledTanh
from fst.networks.transformer import TransformerNetwork

PICTURES, PICTURES_PX = 4, 96
"""How many pictures the colours of a network are measured on, and their side."""
PAINTING_PX = 224
"""Shorter side of the painting, if it is larger: scans have grain that is not the painter's."""
DARKEST, LIGHTEST = 0.05, 0.95
"""Values are clamped to this range: the nonlinearity cannot be inverted at 0 and 1."""
MIN_VARIANCE = 1e-3
"""Added to the variances of z: colours may lie in a plane or on a line."""
MAX_CONTRAST = 3.0
"""The most that contrast is raised or lowered along any axis."""
_Eigh = Callable[[Tensor], Sequence[Tensor]]


@torch.no_grad()
def colours_of(network: TransformerNetwork, painting: Tensor) -> Tensor:
    """Return the colours that `fit_palette` aims at: of z the covariance beside the mean, (3, 4).

    The colours of several paintings are the mean of those of each: their contrast is that of one
    painting, to which the differences between paintings add nothing.

    Args:
        network: whose output's nonlinearity says what z is.
        painting: (1, 3, H, W) in [0, 1].

    Returns:
        float64, on the CPU.
    """
    if (scale := PAINTING_PX / min(painting.shape[-2:])) < 1:
        painting = F.interpolate(painting, scale_factor=scale, mode="bilinear", antialias=True)
    return measure_colours(network, painting)


@torch.no_grad()
def fit_palette(
    network: TransformerNetwork,
    colours: Tensor,
    share: float,
    parameters: Mapping[str, Tensor] = MappingProxyType({}),
) -> Tensor:
    """Return the palette that gives a network's pictures a painting's mean and covariance of z.

    Of all matrices that do, this is the symmetric one, which moves the colours least: Pitié and
    Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for example-based colour
    transfer". Ours never changes the contrast along an axis by more than `MAX_CONTRAST`. The
    network is measured on noise that has the spectrum of photographs.

    Args:
        network: in evaluation mode.
        colours: the painting's, or those of several, from `colours_of`.
        share: how far to go, from 0 (nothing changes) to 1 (the same mean and covariance).
        parameters: by name, to take instead of the network's own.

    Returns:
        (3, 4) on the network's device; zeros where the network's pictures are not finite.
    """
    device = next(network.parameters()).device
    noise, given = pink_noise().to(device), dict(parameters)
    stylized = torch.cat([functional_call(network, given, (each[None],)) for each in noise])
    if not stylized.isfinite().all():
        return torch.zeros(3, 4, device=device)
    return palette_between(measure_colours(network, stylized), colours, share).to(device)


def palette_between(
    own: Tensor, colours: Tensor, share: float, eigh: _Eigh = torch.linalg.eigh
) -> Tensor:
    """Return the palette (3, 4) that leads from a network's colours to others.

    Args:
        own: the network's, as `measure_colours` returns them.
        colours: those to go to.
        share: how far to go, from 0 to 1.
        eigh: what finds eigenvalues and eigenvectors.
    """
    (covariance, mean), (aimed, aim) = ((c[:, :3], c[:, 3]) for c in (own, colours))
    variances, axes = eigh(covariance)
    root, inverse = ((axes * each) @ axes.T for each in (variances.sqrt(), variances.rsqrt()))
    variances, axes = eigh(root @ aimed @ root)
    middle = (axes * variances.sqrt()) @ axes.T
    factors, axes = eigh(inverse @ middle @ inverse)
    matrix = (axes * factors.clamp(1 / MAX_CONTRAST, MAX_CONTRAST)) @ axes.T
    offset = aim - matrix @ mean
    change = torch.cat([matrix - torch.eye(3, dtype=matrix.dtype), offset[:, None]], dim=1)
    return (share * change).float()


@torch.no_grad()
def apply_palette(network: TransformerNetwork, palette: Tensor) -> None:
    """Write a palette into a network's last convolution."""
    *_, convolution = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert convolution.bias is not None
    change, offset = palette[:, :3], palette[:, 3]
    convolution.weight += torch.einsum("ij,jchw->ichw", change, convolution.weight)
    convolution.bias += change @ convolution.bias + offset


def pink_noise() -> Tensor:
    """Return pictures (N, 3, H, W) in [0, 1] whose amplitudes fall with the frequency, as 1/f."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(PICTURES, 3, PICTURES_PX, PICTURES_PX, generator=generator)
    return (0.45 + 0.25 * make_pink(white)).clamp(0, 1)


def make_pink(white: Tensor) -> Tensor:
    """Return white noise (N, 3, S, S) as pink noise, at mean 0 and variance 1 in each picture.

    Its amplitudes fall with the frequency, as 1/f, and its colours are muted, as photographs' are.
    """
    side = white.shape[-1]
    down, right = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
    frequency = (down[:, None].square() + right.square()).sqrt().clamp_min(1 / side)
    pink = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=white.shape[-2:])
    grey = pink.mean(1, keepdim=True)
    muted = grey + 0.35 * (pink - grey)  # as photographs are
    deviation, mean = torch.std_mean(muted, (1, 2, 3), keepdim=True)
    standardised: Tensor = (muted - mean) / deviation
    return standardised


def measure_colours(network: TransformerNetwork, pictures: Tensor) -> Tensor:
    """Return the covariance and the mean of z over all pixels of (N, 3, H, W), as one (3, 4)."""
    *_, output = network.modules()
    assert isinstance(output, ScaledTanh | Clamp)
    z = output.inverse(pictures.clamp(DARKEST, LIGHTEST))
    pixels = z.transpose(0, 1).flatten(1).cpu().double()
    least = MIN_VARIANCE * torch.eye(3, dtype=pixels.dtype)
    mean = pixels.mean(1, keepdim=True)
    centred = pixels - mean
    count = max(2, pixels.shape[1])  # a painting of one pixel is a plain colour
    covariance = centred @ centred.T / (count - 1) + least
    return torch.cat([covariance, mean], dim=1)
