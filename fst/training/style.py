"""Training on style: one network, a perceptual loss, one style or several."""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fst.config import (
    OneStyleConfig,
    PictureConfig,
    PicturesConfig,
    StyleConfig,
    TrainConfig,
    WorksConfig,
)
from fst.losses.objective import towards
from fst.losses.pooling import RunningPool
from fst.losses.style_weight import adapt, missing_content
from fst.models.model_info import ModelInfo, StyleInfo
from fst.networks.registry import build_network
from fst.networks.styled import StyledNetwork, fit_palettes
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range
from fst.report import few
from fst.training.setup import build_losses, start_from, start_styles_from, style_inputs
from fst.training.style_pictures import Style, draw_styles, open_styles, open_works
from fst.training.style_report import about_style, describe_style, worst_styles
from fst.training.style_terms import style_terms
from fst.training.task import Context, Task, Validation
from fst.training.validation import validate


class StyleTask(Task):
    """A network of one style, or of several that are drawn in turn."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.config: TrainConfig = context.config
        config = self.config
        self.styles = self._open_styles(config.style)
        targets = [style.shares for style in self.styles]
        loss, heldout_loss = build_losses(config, context.world, self.device)
        self.loss, self.heldout_loss = towards(loss, *targets), towards(heldout_loss, *targets)
        self.pool = RunningPool(self.loss)
        self.inputs = style_inputs(context, self.styles, loss.loss_network)

        torch.manual_seed(config.seed)
        self.one_style = isinstance(config.style, OneStyleConfig)
        self.transformer = build_network(config.network.name, config.network.arguments())
        self.begin_with(self._begin(None if context.resumes else config.init))
        if context.compiles:
            loss.compile()  # whole: the loss network alone would be compiled for six shapes
        self.missing = torch.zeros(len(self.styles), device=self.device)
        self.fitted: nn.Module | None = None

    def _open_styles(self, chosen: StyleConfig) -> list[Style]:
        if isinstance(chosen, WorksConfig):
            left_out = self.context.skipped
            name = chosen.title or ""
            return [open_works(name, chosen.works, chosen.size_px, self.device, left_out)]
        if isinstance(chosen, PictureConfig):
            return open_styles([chosen.picture], chosen.size_px, self.device)
        assert isinstance(chosen, PicturesConfig)
        return open_styles(chosen.pictures, chosen.size_px, self.device)

    def _begin(self, init: str | None) -> nn.Module:
        """Return what is trained, begun with the weights of a model if one is named."""
        if self.one_style:
            if init is not None:
                start_from(self.transformer, init, self.styles[0].pictures)
            return self.transformer
        styled = StyledNetwork(self.transformer, len(self.styles))
        if init is not None:
            start_styles_from(styled, self.styles, init)
        return styled

    def terms(self, images: Tensor, position: int) -> dict[str, Tensor]:
        """Return the means of the loss's terms, and the mean weight of the style."""
        content = to_unit_range(images.to(self.device, non_blocking=True))
        styles = draw_styles(len(self.styles), self.config.seed, position, len(content))
        styles = styles.to(self.device, non_blocking=True)
        network = self.descent.parallel
        stylize = network if self.one_style else partial(network, styles=styles)
        terms, distances = style_terms(
            self.loss, stylize, content, styles, self.pool, self.config, position
        )
        count = len(self.styles)
        self.missing = missing_content(self.config.loss, distances, styles, count)
        return terms

    def after_step(self) -> None:
        """Adapt each style's weight to the content that its pictures missed; advance the pool."""
        world = self.context.world
        adapt(self.loss.weights, self.config.loss, world.total(self.missing))
        self.pool.advance(world.total)

    def update_average(self, decay: float) -> None:
        """Move the average; its palettes are then to be fitted anew."""
        super().update_average(decay)
        self.fitted = None

    def model(self) -> nn.Module:
        """Return the model as it stands: the average of the weights, its palettes fitted."""
        share = self.config.training.palette
        if not share:
            return self.average
        if self.fitted is None:
            self.fitted = copy.deepcopy(self.average)
            assert isinstance(self.fitted, TransformerNetwork | StyledNetwork)
            fit_palettes(self.fitted, [style.pictures for style in self.styles], share)
        return self.fitted

    def validate(self) -> Validation:
        """Measure the model on the held-out pictures, in every style."""
        model = self.model()
        assert isinstance(model, TransformerNetwork | StyledNetwork)
        return validate(self.context, model, self.styles, self.heldout_loss)

    def describe(
        self, model: nn.Module, seen_images: int, terms: dict[str, float], totals: dict[str, float]
    ) -> ModelInfo:
        """Return what the model file says: the training, and its styles if there are several."""
        info = describe_style(model, self.config, seen_images, terms)
        if isinstance(self.config.style, WorksConfig):  # the files, not the folder they were in
            info.training_config["style"]["works"] = [str(path) for path in self.styles[0].paths]
        if isinstance(self.config.style, PicturesConfig):
            info.palette_share = self.config.training.palette
            info.styles = [
                StyleInfo(
                    s.name, str(s.paths[0]), {"total": totals[s.name]} if s.name in totals else {}
                )
                for s in self.styles
            ]
        return info

    def about(self) -> list[str]:
        """Return lines that describe the run."""
        paths = [str(path) for style in self.styles for path in style.paths]
        if isinstance(self.config.style, PictureConfig):
            style = f"style {paths[0]}"
        elif self.one_style:
            works = f"{len(paths)} work{'s' * (len(paths) > 1)} together"
            style = f"one style of {works} ({few(paths)}; styles= makes a style of each)"
        else:
            style = f"{len(paths)} styles ({few(paths)}; style= makes one style of all)"
        return about_style(self, self.transformer, style, self.heldout_loss)

    def use(self, totals: dict[str, float]) -> list[str]:
        """Return lines with the worst styles, and what can be done with the result."""
        model = self.context.folder.model
        chosen = model if self.one_style else f"{model}:STYLE"
        return [*worst_styles(totals), f"stylize with   fst stylize {chosen} PICTURE... -o OUT"]

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in training."""
        own = {"style_weight": self.loss.weights, "pool": self.pool.state_dict()}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        super().load_state_dict(state)
        self.loss.weights.copy_(state["style_weight"])
        self.pool.load_state_dict(state["pool"])
