"""What is chosen of a model of several styles: one of them, any painting, or a blend of both."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fst.networks.palette import colours_of
from fst.networks.predictor import SEEN, predictor_input
from fst.networks.styled import StyledNetwork
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import read_image, resize
from fst.pictures.works import LeftOut, about_left_out, read_works

if TYPE_CHECKING:
    from fst.losses.relative import MomentsLoss

MAX_ELONGATED = 4
"""Of a painting that is longer than this many times its width, the middle is seen."""
_MAX_PX = 16_000_000
"""Larger paintings are reduced before they become floats; they are seen at a few hundred pixels."""


class StyleChoice:
    """A style or a blend, as a network of its own for each strength."""

    def __init__(self, network: StyledNetwork, shares: Tensor) -> None:
        """Choose of a network's styles.

        Args:
            network: of several styles.
            shares: how much of each, in the order of their numbers; they add up to 1.
        """
        self.network = network
        self.shares = shares

    @property
    def has_strength(self) -> bool:
        """Whether the strength of the style is an input of the network."""
        return self.network.predictor is not None

    def fold(self, strength: float = 0.0) -> TransformerNetwork:
        """Return an ordinary network of this style.

        Args:
            strength: logarithm to the base of 4 of the style's weight, in [-1, 1].
        """
        return self.network.fold(self.shares, strength)


def read_painting(source: str | Path | bytes) -> Tensor:
    """Return a painting, (1, 3, H, W) in [0, 1], of at most `_MAX_PX` pixels."""
    return read_image(source, _MAX_PX)


def with_files(
    network: StyledNetwork,
    paths: Iterable[str],
    predictor_px: int,
    palette_share: float,
    note: Callable[[str], None] = lambda line: None,
) -> StyledNetwork:
    """Return a network with one more style for each file, or folder of paintings that are one.

    Args:
        network: with a predictor.
        paths: of paintings, and of folders of them.
        predictor_px: shorter side of a painting that the predictor sees.
        palette_share: as in `with_paintings`.
        note: called with a line about the files of a folder that are skipped.

    Raises:
        OSError: a folder may not be read.
        UserError: a painting cannot be read, or a folder holds none.
    """
    for path in paths:
        left_out: LeftOut = []
        works = (each for _, each in read_works([path], left_out, _MAX_PX))
        network = with_paintings(network, works, predictor_px, palette_share)
        if left_out:
            note(f"{path}: {about_left_out(left_out)}")
    return network


@torch.no_grad()
def with_paintings(
    network: StyledNetwork, paintings: Iterable[Tensor], side_px: int, palette_share: float
) -> StyledNetwork:
    """Return a network with one more style: the one that its predictor finds for paintings.

    Of several paintings it is the mean of their codes. The mean of their statistics, which the
    predictor could see instead, is that of no painting: its code is small and the style pale.

    Args:
        network: with a predictor.
        paintings: at least one, (1, 3, H, W) in [0, 1], taken one at a time.
        side_px: shorter side at which the predictor sees them.
        palette_share: how far its colours are moved towards the paintings', as in `fit_palette`.
    """
    codes, colours = [], []
    for painting in paintings:
        codes.append(predict_code(network, painting, side_px))
        colours.append(colours_of(network.network, _crop_elongated(painting)))
    network = network.with_style(torch.stack(codes).mean(0))
    network.fit_palette(-1, torch.stack(colours).mean(0), palette_share)
    return network


@torch.no_grad()
def predict_code(network: StyledNetwork, painting: Tensor, side_px: int) -> Tensor:
    """Return the code (C,) that a network's predictor finds for a painting.

    Args:
        network: with a predictor.
        painting: (1, 3, H, W) in [0, 1].
        side_px: shorter side at which it is seen.
    """
    assert network.predictor is not None
    device = network.codes.device
    seen = predictor_moments(device).style_targets(
        resize(_crop_elongated(painting), side_px).to(device)
    )
    codes: Tensor = network.predictor(predictor_input(seen))
    return codes[0]


def _crop_elongated(painting: Tensor) -> Tensor:
    """Return the middle of (1, 3, H, W), at most `MAX_ELONGATED` times as long as it is wide."""
    height, width = painting.shape[-2:]
    longest = MAX_ELONGATED * min(height, width)
    top, left = (max(0, length - longest) // 2 for length in (height, width))
    return painting[..., top : top + longest, left : left + longest]


@cache
def predictor_moments(device: torch.device) -> "MomentsLoss":
    """Return the loss whose `style_targets` a predictor sees, whatever the network's loss was."""
    from fst.config import SlimConfig  # here: models without one need no loss
    from fst.losses.loss_network import load_loss_network
    from fst.losses.relative import MomentsLoss

    slim = load_loss_network(SlimConfig(), SEEN.style_layers)
    slim = slim.to(device).to(memory_format=torch.channels_last)
    return MomentsLoss(slim, SEEN)
