"""Moves the colours of a trained network's pictures towards those of the style.

Training by a squared distance to statistics that vary between pictures, and between the parts of
one, is at its best below their size: the pictures have the style's hues, but not its contrast. A
matrix on the three channels of the output makes up for it, and costs nothing, as the network's last
convolution takes it in.
"""

import torch
from torch import Tensor, nn

from fst.losses.statistics import sliced_wasserstein
from fst.networks.transformer import TransformerNetwork

PICTURES = 16
"""Photographs that the colours are fitted over."""
PIXELS = 2048
"""Pixels of all the pictures together, and of the style, that are compared."""
STEPS = 100
LEARNING_RATE = 0.02


def fit_palette(network: TransformerNetwork, contents: Tensor, style: Tensor, share: float) -> None:
    """Change the last convolution of a network so that its pictures' colours are the style's.

    What enters the output's nonlinearity, z, becomes A z + b with a symmetric matrix A, which
    scales colours along three axes but does not rotate them. A and b minimise the sliced
    Wasserstein distance of the colours of all pictures together to the style's.

    Args:
        network: on the device of the pictures; changed in place.
        contents: photographs (N, 3, H, W) in [0, 1].
        style: (1, 3, H', W') in [0, 1].
        share: how far to go, from 0 (nothing changes) to 1 (as close as a matrix allows).
    """
    *_, convolution = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    *_, output = network.modules()
    before = _inputs(output, network, contents)
    colours, aim = _some_pixels(before), _some_pixels(style)
    with torch.enable_grad():
        matrix, offset = _fit(output, colours, aim)
    matrix, offset = (each.to(style.device) for each in (matrix, offset))
    matrix = torch.lerp(torch.eye(3, device=style.device), matrix, share)
    with torch.no_grad():
        convolution.weight.copy_(torch.einsum("ij,jchw->ichw", matrix, convolution.weight))
        assert convolution.bias is not None
        convolution.bias.copy_(matrix @ convolution.bias + share * offset)


def _inputs(layer: nn.Module, network: TransformerNetwork, contents: Tensor) -> Tensor:
    """Return what the layer's input is, (N, 3, H, W), when the network stylizes each picture."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
    with torch.no_grad():
        for content in contents:
            network(content[None])
    hook.remove()
    return torch.cat(seen)


def _some_pixels(pictures: Tensor) -> Tensor:
    """Return pixels drawn from all of (N, 3, H, W), on the CPU, as (1, 3, 1, `PIXELS`)."""
    pixels = pictures.transpose(0, 1).flatten(1).cpu()
    drawn = torch.randint(pixels.shape[1], (PIXELS,), generator=torch.Generator().manual_seed(0))
    return pixels[:, drawn][None, :, None]


def _fit(output: nn.Module, colours: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symmetric matrix (3, 3) and the offset (3,) that fit (1, 3, 1, P) to the aim."""
    half, offset = (torch.eye(3) / 2).requires_grad_(), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([half, offset], LEARNING_RATE)
    for _ in range(STEPS):
        moved = torch.einsum("ij,njhw->nihw", half + half.T, colours) + offset.view(1, 3, 1, 1)
        distance = sliced_wasserstein(output(moved), aim, directions=16)
        optimizer.zero_grad()
        torch.autograd.backward(distance)
        optimizer.step()
    return (half + half.T).detach(), offset.detach()
