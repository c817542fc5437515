"""Training on style: one network, a perceptual loss, one style or several."""

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from fst.config import PictureConfig, PicturesConfig, TrainConfig
from fst.data.batches import without_margin
from fst.losses.temporal import temporal_term
from fst.models.model_file import describe
from fst.models.model_info import ModelInfo, StyleInfo
from fst.networks.cost import count_flops, count_parameters
from fst.networks.registry import build_network
from fst.networks.styled import StyledNetwork, fit_palettes
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range
from fst.report import few
from fst.training.distributed import World
from fst.training.judging import judge
from fst.training.resumable import fingerprint
from fst.training.run import TrainingRun
from fst.training.setup import build_losses, start_from, start_styles_from
from fst.training.styles import Style, drawn_styles, open_styles
from fst.training.tracking import Tracker

Stylize: TypeAlias = Callable[[Tensor], Tensor]
"""From pictures (N, 3, H, W) in [0, 1] to stylized ones."""
WORST = 3
"""Styles that are named at the end because their held-out total is highest."""


class Trainer(TrainingRun):
    """A run that trains a network on style."""

    config: TrainConfig
    network: TransformerNetwork | StyledNetwork
    ema: TransformerNetwork | StyledNetwork

    def __init__(self, config: TrainConfig, world: World, device: torch.device) -> None:
        super().__init__(config, world, device)
        self.styles = self.open_styles()
        self.loss, self.heldout_loss = build_losses(
            config, [style.picture for style in self.styles], world
        )
        self.inputs = {
            "the pictures in data.path": self.data.fingerprint,
            "the held-out pictures": fingerprint([self.data.heldout]),
            "the pixels of the style": "".join(style.fingerprint for style in self.styles),
            "the weights of the loss network": fingerprint(
                self.loss.loss_network.state_dict().values()
            ),
        }

        torch.manual_seed(config.seed)
        network = build_network(config.network.name, config.network.arguments())
        self.one_style = isinstance(config.style, PictureConfig)
        self.transformer = network
        self.begin_with(self.network_of(network))
        if self.compiles:
            self.loss.compile()  # whole: the loss network alone would be compiled for six shapes
        self.finished = (-1, self.ema)
        self.heldout_totals: dict[str, float] = {}  # of each style, where there are several
        self.missing_content = torch.zeros(len(self.styles), device=device)

    def open_styles(self) -> list[Style]:
        """Return the styles to judge by, which are those trained on."""
        return open_styles(self.config.style.paths, self.config.style.size_px, self.device)

    def network_of(self, network: TransformerNetwork) -> nn.Module:
        """Return what is trained, begun with the weights of `init`."""
        init = None if self.folder.state.exists() else self.config.init
        if self.one_style:
            if init is not None:
                start_from(network, init)
            return network
        styled = StyledNetwork(network, len(self.styles))
        if init is not None:
            start_styles_from(styled, [style.name for style in self.styles], init)
        return styled

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to resume exactly."""
        return super().state_dict() | {
            "style_weight": self.loss.style_weight,
            "heldout_totals": self.heldout_totals,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; raise as `TrainingRun` does."""
        super().load_state_dict(state)
        self.loss.style_weight.copy_(state["style_weight"])
        self.heldout_totals = state["heldout_totals"]

    def terms(self, images: Tensor, position: int) -> dict[str, Tensor]:
        """Return the means of the loss's terms, and the mean weight of the style."""
        content = to_unit_range(images.to(self.device, non_blocking=True))
        stylize, styles = self.in_drawn_styles(position, len(content))
        stylized = stylize(content)
        stylized, content = (self.without_margin(each) for each in (stylized, content))
        stylized = stylized.float()  # bf16 has 8 significant bits
        of_each = self.loss(stylized, content, styles)
        terms = {name: values.mean() for name, values in of_each.items()}
        if weight := self.config.loss.temporal_weight:
            terms["temporal"] = temporal_term(
                stylize, content, stylized, self.config.seed, position
            )
            terms["total"] = terms["total"] + weight * terms["temporal"]
        self.missing_content = self.loss.missing_content(of_each["content"], styles)
        return {**terms, "style_weight": self.loss.style_weight[styles].mean()}

    def in_drawn_styles(self, position: int, count: int) -> tuple[Stylize, Tensor]:
        """Return what stylizes pictures, each in a style drawn for it, and the styles' numbers.

        Args:
            position: the number of images seen before the first picture.
            count: how many pictures there are, N.
        """
        styles = drawn_styles(len(self.styles), self.config.seed, position, count)
        styles = styles.to(self.device, non_blocking=True)
        return self.parallel if self.one_style else partial(self.parallel, styles=styles), styles

    def after_step(self) -> None:
        """Adapt the weight of each style to the content that its pictures missed."""
        self.loss.adapt(self.world.mean(self.missing_content) * self.world.size)

    def without_margin(self, images: Tensor) -> Tensor:
        """Return what the loss sees of (N, 3, S, S): all but `data.margin_px` on each side."""
        return without_margin(images, self.config.data.margin_px)

    def model(self) -> TransformerNetwork | StyledNetwork:
        """Return the model as it stands: the average of the weights, its palettes fitted."""
        share = self.config.training.palette
        if not share:
            return self.ema
        seen_images, model = self.finished
        if seen_images != self.seen_images:
            model = copy.deepcopy(self.ema)
            fit_palettes(model, [style.picture for style in self.styles], share)
            self.finished = (self.seen_images, model)
        return model

    def judged(self) -> TransformerNetwork | StyledNetwork:
        """Return the model with the styles that it is judged by."""
        return self.model()

    def judge(self, tracker: Tracker) -> dict[str, float]:
        """Judge the model by the held-out pictures; return its terms by TensorBoard's names."""
        if not self.world.is_main or not len(self.heldout):
            return {}
        seed = self.config.seed if self.config.loss.temporal_weight else None
        found = judge(
            self.judged(), self.styles, to_unit_range(self.heldout), self.heldout_loss, seed
        )
        tracker.contact_sheet(found.sheet, self.seen_images)
        self.heldout_terms, self.heldout_totals = found.terms, found.totals
        shown = found.terms | {f"total/{style}": total for style, total in found.totals.items()}
        return {f"heldout/{name}": value for name, value in shown.items()}

    def describe_model(self, model: nn.Module) -> ModelInfo:
        """Return what the model file says: the training, and its styles if there are several."""
        assert isinstance(model, TransformerNetwork | StyledNetwork)
        info = describe(
            model,
            title=self.config.style.title or "",
            seen_images=self.seen_images,
            losses=self.heldout_terms,
            loss_network=self.config.loss_network.name,
            training_config=dataclasses.asdict(self.config),
        )
        if isinstance(self.config.style, PicturesConfig):
            totals = self.heldout_totals
            info.palette_share = self.config.training.palette
            info.styles = [
                StyleInfo(
                    s.name, str(s.path), {"total": totals[s.name]} if s.name in totals else {}
                )
                for s in self.styles
            ]
        return info

    def about(self) -> list[str]:
        """Return lines that describe the run."""
        config, network = self.config, self.network
        lines = [
            f"{config.network.name} network: {count_parameters(network):,} parameters, "
            f"{count_flops(self.transformer, 512, 512) / 1e9:.1f} GFLOP at 512x512",
            self.data.summary,
            f"{self.style_line()}, {config.loss.name} loss, "
            f"loss network {config.loss_network.name}; "
            f"on {self.device}, {self.world.size} process(es), {self.precision}",
        ]
        if len(self.heldout):
            lines.append(
                "objective is weighted by this run's settings, heldout/total by the defaults of "
                f"loss={self.heldout_loss.config.name}: compare heldout/total between runs, not "
                "with objective"
            )
        return lines

    def style_line(self) -> str:
        """Return what is trained on, in words."""
        paths = [str(style.path) for style in self.styles]
        return f"style {paths[0]}" if self.one_style else f"{len(paths)} styles ({few(paths)})"

    def use(self) -> list[str]:
        """Return lines with the worst styles, and what can be done with the result."""
        lines = []
        if self.heldout_totals:
            worst = sorted(self.heldout_totals.items(), key=lambda entry: -entry[1])[:WORST]
            lines = [f"worst styles   {', '.join(f'{k} {v:.3f}' for k, v in worst)}"]
        chosen = self.folder.model if self.one_style else f"{self.folder.model}:STYLE"
        return [*lines, f"stylize with   fst stylize {chosen} PICTURE... -o OUT"]
