"""Training one network for any painting: it learns to predict a style, from many of them.

Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization
network", section 3.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from fst.config import AnyStyleConfig, FolderDataConfig, SlimConfig, TrainConfig
from fst.data.batches import Data, no_answer, open_data, unusable
from fst.data.waiting import FeedError, StoppedWaitingError, wait_for
from fst.errors import UserError
from fst.losses.objective import Objective, towards
from fst.losses.pooling import pool_batch
from fst.models.model_info import ModelInfo
from fst.models.style_choice import predictor_moments, with_paintings
from fst.networks.predictor import predictor_input
from fst.networks.registry import build_network
from fst.networks.styled import StyledNetwork, stylize_with
from fst.pictures.image import to_unit_range
from fst.streams import Stream
from fst.terminal import note
from fst.training.resumable import fingerprint
from fst.training.setup import build_losses, check_sizes, open_init, style_inputs, take_weights
from fst.training.style_pictures import Style
from fst.training.style_report import about_style, describe_style, worst_styles
from fst.training.style_terms import Stylize, style_terms
from fst.training.task import Context, Task, Validation
from fst.training.validation import validate

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
        numbers: Tensor,
    ) -> Tensor:
        """Stylize (N, 3, H, W).

        Args:
            image: in [0, 1].
            statistics: `predictor_input` of G paintings, (G, P); and of those that some of them are
                mixed with, (M, P), behind them.
            chosen: as in `mix`.
            shares: as in `mix`.
            strengths: (G,), as in `StyledNetwork.mapped`.
            numbers: of each picture's painting, int64 (N,).
        """
        assert self.styled.predictor is not None
        with torch.autocast(image.device.type, enabled=False):  # as it is when the model is used
            codes = mix(self.styled.predictor(statistics), chosen, shares)
            vectors = self.styled.map_codes(codes, strengths)
        return stylize_with(self.styled.network, vectors[numbers], image)


def mix(values: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
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


class AnyStyleTask(Task):
    """A network and a predictor; its `styles` are paintings held out, to validate by."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.config: TrainConfig = context.config
        config = self.config
        assert isinstance(config.style, AnyStyleConfig)
        self.chosen = config.style
        self.paintings = self._open_paintings(config)
        self.moments = predictor_moments(self.device)
        self.threads = ThreadPoolExecutor(max(1, config.data.workers))
        self.styles = [
            Style(f"unseen {number}", [], [picture[None]], fingerprint([picture]))
            for number, picture in enumerate(to_unit_range(self.paintings.heldout).to(self.device))
        ]
        self.loss, heldout_loss = build_losses(config, context.world, self.device)
        self.heldout_loss = towards(heldout_loss, *(style.shares for style in self.styles))
        self.inputs = style_inputs(context, self.styles, self.loss.loss_network) | {
            "the paintings in style.path": self.paintings.fingerprint
        }
        seen_by = self.moments.config
        self.same_moments = (
            config.loss_network,
            config.loss.style_levels,
            config.loss.style_layers,
        ) == (SlimConfig(), seen_by.style_levels, seen_by.style_layers)

        torch.manual_seed(config.seed)
        self.transformer = build_network(config.network.name, config.network.arguments())
        self.begin_with(self._begin())
        if context.compiles:
            self.loss.compile()  # whole: the loss network alone would be compiled for six shapes

    def _open_paintings(self, config: TrainConfig) -> Data:
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
        found = open_data(paintings, own_seed, leave_out=[Path(config.runs_dir)])
        if not len(found.heldout):
            raise UserError(
                f"style.path={self.chosen.path} has too few readable paintings to hold one out"
            )
        return found

    def _begin(self) -> PredictedStyles:
        """Return what is trained, begun with the weights of `init`: of all, or of a network."""
        styled = StyledNetwork(self.transformer, 0, predicts=True)
        styled.codes.requires_grad_(False)  # there are none, and processes would wait for theirs
        styled.residuals.requires_grad_(False)
        assert styled.predictor is not None
        if self.context.resumes:  # its state has all of what follows
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
            silence = partial(no_answer, paintings)
            for square, skipped in wait_for(cut, self.context.stopping, silence):
                self.context.skipped += skipped
                if square is None:
                    raise unusable(paintings, skipped)
                squares.append(square)
        except StoppedWaitingError as error:  # in the midst of a step
            raise FeedError(f"stopped while {paintings.source.root} did not answer") from error
        return to_unit_range(torch.stack(squares).to(self.device, non_blocking=True))

    def statistics(self, paintings: Tensor) -> Tensor:
        """Return what the predictor sees of paintings (N, 3, H, W) in [0, 1]: (N, P)."""
        return predictor_input(self.moments.style_targets(paintings))

    def draw(self, position: int, count: int) -> tuple[Stylize, Objective, Tensor]:
        """Draw paintings, some of them to be mixed with others, and for each a strength.

        Pictures in a row share a painting, with which those of a batch are compared together.

        Args:
            position: the number of images seen before the first picture.
            count: how many pictures there are, N.

        Returns:
            What stylizes N pictures, each like its painting; what the results are held against; the
            number of each picture's painting there, (N,).
        """
        group = self.config.loss.style_pictures
        firsts = range(position // group * group, position + count, group)
        draws = [Stream.PAINTING.random(self.config.seed, first) for first in firsts]
        share = [random.random() * (random.random() < self.chosen.mixed) for random in draws]
        chosen = [number for number in range(len(draws)) if share[number]]
        drawn = (
            torch.tensor(chosen, dtype=torch.int64),
            torch.tensor([share[number] for number in chosen], dtype=torch.float32),
            torch.tensor([random.uniform(-1, 1) for random in draws], dtype=torch.float32),
            torch.arange(position, position + count) // group - position // group,
        )
        which, shares, strengths, numbers = (x.to(self.device, non_blocking=True) for x in drawn)
        partners = [_PARTNERS + firsts[number] for number in chosen]
        paintings = self.cut([*firsts, *partners])
        with torch.autocast(self.device.type, enabled=False):  # as it is when the model is used
            seen = self.moments.style_targets(paintings)
            targets = seen if self.same_moments else self.loss.style_targets(paintings)
        objective = Objective(
            self.loss,
            {name: mix(each, which, shares) for name, each in targets.items()},
            self.config.loss.style_weight * 4**strengths,
        )
        stylize = partial(
            self.descent.parallel,
            statistics=predictor_input(seen),
            chosen=which,
            shares=shares,
            strengths=strengths,
            numbers=numbers,
        )
        return stylize, objective, numbers

    def terms(self, images: Tensor, position: int) -> dict[str, Tensor]:
        """Return the means of the loss's terms, and the mean weight of the style."""
        content = to_unit_range(images.to(self.device, non_blocking=True))
        stylize, objective, numbers = self.draw(position, len(content))
        terms, _ = style_terms(
            objective, stylize, content, numbers, pool_batch, self.config, position
        )
        return terms

    def model(self) -> StyledNetwork:
        """Return the model as it stands, without styles of its own."""
        assert isinstance(self.average, PredictedStyles)
        return self.average.styled

    def validate(self) -> Validation:
        """Measure the model on the held-out pictures, in the styles of the held-out paintings."""
        return validate(self.context, self.with_styles(), self.styles, self.heldout_loss)

    def with_styles(self) -> StyledNetwork:
        """Return the model with the styles that it predicts for the held-out paintings."""
        model = self.model()
        for style in self.styles:
            model = with_paintings(
                model, style.pictures, self.chosen.predictor_px, self.config.training.palette
            )
        return model

    def describe(
        self, model: nn.Module, seen_images: int, terms: dict[str, float], totals: dict[str, float]
    ) -> ModelInfo:
        """Return what the model file says: the training, and how a painting becomes a style."""
        return replace(
            describe_style(model, self.config, seen_images, terms),
            predictor_px=self.chosen.predictor_px,
            palette_share=self.config.training.palette,
        )

    def about(self) -> list[str]:
        """Return lines that describe the run."""
        style = (
            f"{len(self.paintings.train.indices)} paintings in {self.chosen.path}, "
            f"{len(self.styles)} more to validate by"
        )
        return about_style(self, self.transformer, style, self.heldout_loss)

    def use(self, totals: dict[str, float]) -> list[str]:
        """Return lines with the worst of the paintings validated by, and what can be done."""
        chosen = f"{self.context.folder.model}:PAINTING"
        return [*worst_styles(totals), f"stylize with   fst stylize {chosen} PICTURE... -o OUT"]


def _start_from(styled: StyledNetwork, init: str) -> None:
    """Load a trained model's weights: of the network, and of the predictor if it has one."""
    model, choice = open_init(init)
    trained = model.network
    if choice or not isinstance(trained, StyledNetwork):
        take_weights(styled.network, model.in_style(choice, note).stylizer, init)
        return
    take_weights(styled.network, trained.network, init)
    if trained.predictor is not None:
        check_sizes(init, trained, styled)
        styled.load_state_dict(trained.with_only(torch.arange(0)).state_dict())
