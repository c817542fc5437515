"""Training one network for any painting: it learns to predict a style, from many of them.

Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization
network", section 3.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fst.config import AnyStyleConfig, FolderDataConfig, SlimConfig, TrainConfig
from fst.data.batches import no_answer, open_data, unusable
from fst.data.waiting import FeedError, StoppedWaitingError, awaited
from fst.errors import UserError
from fst.models.model_info import ModelInfo
from fst.models.style_choice import predictor_moments, with_painting
from fst.networks.predictor import predictor_input
from fst.networks.styled import StyledNetwork, stylized_with
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range
from fst.streams import Stream
from fst.training.distributed import World
from fst.training.resumable import fingerprint
from fst.training.run import TrainingRun
from fst.training.setup import open_init, other_sizes, take_weights
from fst.training.styles import Style
from fst.training.trainer import Stylize, Trainer

USUAL = 128
"""Paintings on which the predictor's input is standardised."""
_PARTNERS = 2**40  # position of the first painting to mix with another, far behind all others


class PredictedStyles(nn.Module):
    """A network of several styles, as it is trained: each picture in a predicted style."""

    def __init__(self, styled: StyledNetwork) -> None:
        super().__init__()
        self.styled = styled

    def forward(
        self,
        image: Tensor,
        statistics: Tensor,
        chosen: Tensor,
        shares: Tensor,
        strengths: Tensor,
    ) -> Tensor:
        """Stylize (N, 3, H, W).

        Args:
            image: in [0, 1].
            statistics: `predictor_input` of paintings, (N, P); and of those that some of them are
                mixed with, (M, P), behind them.
            chosen: as in `mixed`.
            shares: as in `mixed`.
            strengths: (N,), as in `StyledNetwork.mapped`.
        """
        assert self.styled.predictor is not None
        with torch.autocast(image.device.type, enabled=False):  # as it is when the model is used
            codes = mixed(self.styled.predictor(statistics), chosen, shares)
            vectors = self.styled.mapped(codes, strengths)
        return stylized_with(self.styled.network, vectors, image)


def mixed(values: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
    """Return values (N, ...), some of them moved towards others.

    Args:
        values: (N + M, ...), the last M being those to move towards.
        chosen: which of the N are moved, int64 (M,).
        shares: how far, (M,).
    """
    own, others = values.tensor_split([len(values) - len(chosen)])
    moved = own[chosen].lerp(others, shares.view(-1, *[1] * (values.ndim - 1)))
    result: Tensor = own.index_put((chosen,), moved)
    return result


class AnyStyleTrainer(Trainer):
    """A run that trains a network and a predictor; its `styles` are held out, to judge by."""

    network: PredictedStyles  # type: ignore[assignment]
    ema: PredictedStyles  # type: ignore[assignment]

    def __init__(self, config: TrainConfig, world: World, device: torch.device) -> None:
        assert isinstance(config.style, AnyStyleConfig)
        self.chosen = config.style
        paintings = FolderDataConfig(
            path=self.chosen.path,
            crop_px=self.chosen.crop_px,
            margin_px=0,
            min_crop_scale=self.chosen.min_crop_scale,
            heldout_path=self.chosen.heldout_path,
            heldout_images=self.chosen.heldout_styles,
            heldout_px=self.chosen.size_px,
        )
        # With the photographs' seed, each would meet one painting, cut at the same scale.
        own_seed = int(Stream.PAINTINGS.random(config.seed).integers(2**31))
        self.paintings = open_data(paintings, own_seed, leave_out=[Path(config.runs_dir)])
        if not len(self.paintings.heldout):
            raise UserError(
                f"style.path={self.chosen.path} has too few readable paintings to hold one out"
            )
        self.moments = predictor_moments(device)
        self.threads = ThreadPoolExecutor(max(1, config.data.workers))
        super().__init__(config, world, device)
        self.inputs["the paintings in style.path"] = self.paintings.fingerprint
        seen_by = self.moments.config
        self.same_moments = (
            config.loss_network,
            config.loss.style_levels,
            config.loss.style_layers,
        ) == (SlimConfig(), seen_by.style_levels, seen_by.style_layers)

    def open_styles(self) -> list[Style]:
        """Return the paintings to judge by."""
        return [
            Style(f"unseen {number}", self.folder.path, picture[None], fingerprint([picture]))
            for number, picture in enumerate(to_unit_range(self.paintings.heldout).to(self.device))
        ]

    def network_of(self, network: TransformerNetwork) -> nn.Module:
        """Return what is trained, begun with the weights of `init`: of all, or of a network."""
        styled = StyledNetwork(network, 0, predicts=True)
        styled.codes.requires_grad_(False)  # there are none, and processes would wait for theirs
        styled.residuals.requires_grad_(False)
        assert styled.predictor is not None
        if self.folder.state.exists():  # which has all of what follows
            return PredictedStyles(styled)
        usual = [self.statistics(self.cut(range(i, i + 16))) for i in range(0, USUAL, 16)]
        styled.predictor.standardise_by(torch.cat(usual).cpu())
        if self.config.init is not None:
            _start_from(styled, self.config.init)
        return PredictedStyles(styled)

    def cut(self, positions: Sequence[int]) -> Tensor:
        """Return squares of the paintings at these positions, (N, 3, S, S) in [0, 1].

        Raises:
            FeedError: a hundred paintings in a row are unusable, or none comes.
        """
        paintings = self.paintings.train
        cut = self.threads.map(paintings.__getitem__, positions)
        squares = []
        try:
            for square, skipped in awaited(cut, self.stopping, partial(no_answer, paintings)):
                self.skipped_in_step += skipped
                if square is None:
                    raise unusable(paintings, skipped)
                squares.append(square)
        except StoppedWaitingError as error:  # in the midst of a step
            raise FeedError(f"stopped while {paintings.source.root} did not answer") from error
        return to_unit_range(torch.stack(squares).to(self.device, non_blocking=True))

    def statistics(self, paintings: Tensor) -> Tensor:
        """Return what the predictor sees of paintings (N, 3, H, W) in [0, 1]: (N, P)."""
        return predictor_input(self.moments.style_targets(paintings))

    def in_drawn_styles(self, position: int, count: int) -> tuple[Stylize, Tensor]:
        """Draw paintings, some of them to be mixed with others, and for each a strength."""
        draws = [Stream.PAINTING.random(self.config.seed, position + i) for i in range(count)]
        share = [random.random() * (random.random() < self.chosen.mixed) for random in draws]
        chosen = [number for number in range(count) if share[number]]
        drawn = (
            torch.tensor(chosen, dtype=torch.int64),
            torch.tensor([share[number] for number in chosen], dtype=torch.float32),
            torch.tensor([random.uniform(-1, 1) for random in draws], dtype=torch.float32),
        )
        which, shares, strengths = (x.to(self.device, non_blocking=True) for x in drawn)
        partners = [_PARTNERS + position + number for number in chosen]
        paintings = self.cut([*range(position, position + count), *partners])
        with torch.autocast(self.device.type, enabled=False):  # as it is when the model is used
            seen = self.moments.style_targets(paintings)
            targets = seen if self.same_moments else self.loss.style_targets(paintings)
        self.loss.replace_styles(
            {name: mixed(each, which, shares) for name, each in targets.items()},
            self.config.loss.style_weight * 4**strengths,
        )
        stylize = partial(
            self.parallel,
            statistics=predictor_input(seen),
            chosen=which,
            shares=shares,
            strengths=strengths,
        )
        return stylize, torch.arange(count, device=self.device)

    def after_step(self) -> None:
        """Leave the style's weight as it is: it is an input of the network."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to resume exactly; style weights are drawn anew."""
        return TrainingRun.state_dict(self) | {"heldout_totals": self.heldout_totals}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; raise as `TrainingRun` does."""
        TrainingRun.load_state_dict(self, state)
        self.heldout_totals = state["heldout_totals"]

    def model(self) -> StyledNetwork:
        """Return the model as it stands, without styles of its own."""
        return self.ema.styled

    def describe_model(self, model: nn.Module) -> ModelInfo:
        """Return what the model file says: the training, and how a painting becomes a style."""
        return replace(
            super().describe_model(model),
            predictor_px=self.chosen.predictor_px,
            palette_share=self.config.training.palette,
        )

    def style_line(self) -> str:
        """Return what is trained on, in words."""
        return (
            f"{len(self.paintings.train.indices)} paintings in {self.chosen.path}, "
            f"{len(self.styles)} more to judge by"
        )

    def use(self) -> list[str]:
        """Return lines with the worst of the paintings judged by, and what can be done."""
        *worst, _ = super().use()
        chosen = f"{self.folder.model}:PAINTING"
        return [*worst, f"stylize with   fst stylize {chosen} PICTURE... -o OUT"]

    def judged(self) -> StyledNetwork:
        """Return the model with the styles that it predicts for the paintings to judge by."""
        model = self.model()
        for style in self.styles:
            model = with_painting(
                model, style.picture, self.chosen.predictor_px, self.config.training.palette
            )
        return model


def _start_from(styled: StyledNetwork, init: str) -> None:
    """Load a trained model's weights: of the network, and of the predictor if it has one."""
    model, choice = open_init(init)
    trained = model.network
    if choice or not isinstance(trained, StyledNetwork):
        take_weights(styled.network, model.in_style(choice).stylizer, init)
        return
    take_weights(styled.network, trained.network, init)
    if trained.predictor is not None:
        if trained.sizes != styled.sizes:
            raise other_sizes(init, trained, styled)
        styled.load_state_dict(trained.with_only(torch.arange(0)).state_dict())
