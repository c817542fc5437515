"""A model that was read, with all of its styles or in one of them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from fst.config.checks import title_of
from fst.errors import UserError
from fst.models.model_info import ModelInfo, StyleInfo
from fst.models.model_name import chosen_shares, refuse_style
from fst.models.style_choice import StyleChoice, with_files, with_paintings
from fst.networks.styled import StyledNetwork
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler

Network: TypeAlias = TransformerNetwork | StyledNetwork | Upscaler
"""What a model file holds."""


@dataclass(frozen=True)
class Model:
    """What `fst.models.model_file.read_model` returns, on the CPU in evaluation mode."""

    path: Path
    network: Network
    info: ModelInfo
    chosen: StyleChoice | None = None
    """What the network was folded of, once a style was chosen."""

    def in_style(
        self,
        choice: str = "",
        note: Callable[[str], None] = lambda line: None,
        files: bool = True,
    ) -> "Model":
        """Return the model in one style: an ordinary network, and what is known of that style.

        Args:
            choice: of several styles, one of them or a blend: `NAME=SHARE,NAME=SHARE`; with a
                predictor, paintings' files and folders as well. Empty for a model of one style.
            note: called with a line about the files of a folder that are skipped.
            files: whether paintings' files may be chosen; else nothing but names, and no path that
                the choice names is looked at.

        Raises:
            NoStyleChosenError: it has several styles, and nothing is chosen.
            OSError: a folder may not be read.
            UserError: it has no such style, or has one style only, or a painting cannot be read.
        """
        if not isinstance(self.network, StyledNetwork):
            refuse_style(self.path, choice)
            return self
        info = self.info
        names = [style.name for style in info.styles]
        shares = chosen_shares(self.path, names, choice, files and bool(info.predictor_px))
        paintings = [path for path in shares if path not in names]
        network = with_files(self.network, paintings, info.predictor_px, info.palette_share, note)
        of_each = torch.tensor([shares.get(name, 0.0) for name in (*names, *paintings)])
        return self._fold(StyleChoice(network, of_each), _of_style(info, shares, choice))

    def in_style_of(self, painting: Tensor) -> "Model":
        """Return a model that `predicts` in the style of a painting, (1, 3, H, W) in [0, 1]."""
        network = self.predict([painting])
        shares = torch.zeros(len(self.info.styles) + 1)
        shares[-1] = 1
        return self._fold(StyleChoice(network, shares), _of_style(self.info, {"painting": 1.0}, ""))

    def _fold(self, chosen: StyleChoice, info: ModelInfo) -> "Model":
        network = chosen.fold().eval().requires_grad_(False)
        return Model(self.path, network, info, chosen)

    @property
    def predicts(self) -> bool:
        """Whether it takes any painting."""
        return isinstance(self.network, StyledNetwork) and self.network.predictor is not None

    def predict(self, paintings: Iterable[Tensor]) -> StyledNetwork:
        """Return the network of a model that `predicts`, its last style that of paintings.

        Args:
            paintings: of one style together, each (1, 3, H, W) in [0, 1].
        """
        assert isinstance(self.network, StyledNetwork)
        info = self.info
        here = (painting.cpu() for painting in paintings)
        return with_paintings(self.network, here, info.predictor_px, info.palette_share)

    @property
    def stylizer(self) -> TransformerNetwork:
        """The network of a model in one style; raises UserError if it has several, or enlarges."""
        network = self.in_style().network
        if not isinstance(network, TransformerNetwork):
            raise for_super_resolution(self.path)
        return network

    @property
    def upscaler(self) -> Upscaler:
        """The network of a model that enlarges pictures; raises UserError if it stylizes."""
        if not isinstance(self.network, Upscaler):
            raise UserError(f"{self.path} is a model that stylizes: use it with fst stylize")
        return self.network


def for_super_resolution(path: Path) -> UserError:
    """Return the error for a model that enlarges pictures where one that stylizes is needed."""
    return UserError(f"{path} is a model for super-resolution: use it with fst upscale")


def _of_style(info: ModelInfo, shares: Mapping[str, float], choice: str) -> ModelInfo:
    """Return what is known of a style of a model, or of a blend, as of a model of its own."""
    alone = dataclasses.replace(
        info,
        title=choice,
        styles=[],
        losses={},
        card={},
        format_version=1,
        predictor_px=0,
        palette_share=0.0,
    )
    known = {style.name: style for style in info.styles}
    if len(shares) > 1:
        return alone
    (name,) = shares
    style = known.get(name) or StyleInfo(title_of(name), picture=name)
    config = info.training_config
    given = config.get("style")
    if isinstance(given, dict):
        config = {**config, "style": {**given, "picture": style.picture}}
    return dataclasses.replace(
        alone,
        title=style.card.get("title", style.name),
        losses=style.losses,
        training_config=config,
        card={**info.card, **style.card} if style.card else {},  # of a learnt style none is known
    )
