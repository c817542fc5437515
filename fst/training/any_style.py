"""Training one network for any painting: it learns to predict a style, from many of them.

Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization
network", section 3.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fst.config import AnyStyleConfig, FolderDataConfig, TrainConfig
from fst.errors import UserError
from fst.models.model_file import find_model, load_network
from fst.models.model_info import ModelInfo
from fst.models.style_choice import predictor_eyes
from fst.networks.predictor import predictor_input
from fst.networks.styled import StyledNetwork, style_vector, stylized_with
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range
from fst.training.data import content_batches, open_data
from fst.training.distributed import World
from fst.training.resumable import fingerprint
from fst.training.setup import start_from
from fst.training.styles import Style
from fst.training.trainer import Stylize, Trainer

USUAL = 128
"""Paintings on which the predictor's input is standardised."""
_STREAM = 5  # of the run's seed; the data uses 0 to 2, the temporal term 3, the turns of styles 4


class PredictedStyles(nn.Module):
    """A network of several styles, as it is trained: each picture in a predicted style."""

    def __init__(self, styled: StyledNetwork) -> None:
        super().__init__()
        self.styled = styled

    def forward(
        self, image: Tensor, statistics: Tensor, shares: Tensor, strengths: Tensor
    ) -> Tensor:
        """Stylize (N, 3, H, W).

        Args:
            image: in [0, 1].
            statistics: `predictor_input` of the paintings, (N, P).
            shares: (N,), how much each style has of the painting before it.
            strengths: (N,), as in `StyledNetwork.mapped`.
        """
        assert self.styled.predictor is not None
        codes = mixed(self.styled.predictor(statistics), shares)
        return stylized_with(self.styled.network, self.styled.mapped(codes, strengths), image)


def mixed(values: Tensor, shares: Tensor) -> Tensor:
    """Return values (N, ...), each moved towards the one before it by its share, (N,)."""
    return values.lerp(values.roll(1, 0), shares.view(-1, *[1] * (values.ndim - 1)))


class AnyStyleTrainer(Trainer):
    """A run that trains a network and a predictor; its `styles` are held out, to judge by."""

    network: PredictedStyles  # type: ignore[assignment]
    ema: PredictedStyles  # type: ignore[assignment]

    def __init__(self, config: TrainConfig, world: World, device: torch.device) -> None:
        assert isinstance(config.style, AnyStyleConfig)
        if config.loss.name != "moments":
            raise UserError(f"loss={config.loss.name}: any style is trained with loss=moments")
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
        self.paintings = open_data(paintings, config.seed)
        self.eyes = predictor_eyes(device)
        super().__init__(config, world, device)
        self.inputs["the pixels of the style"] += self.paintings.fingerprint
        self.in_drawn_styles(0, config.training.batch_size // world.size)  # the state has them

    def open_styles(self) -> list[Style]:
        """Return the paintings to judge by."""
        if not len(self.paintings.heldout):
            raise UserError("style.heldout_styles=0: at least one painting is needed to judge by")
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
        usual = content_batches(self.paintings.train, 16, 0, USUAL)
        styled.predictor.standardise_by(torch.cat([self.see(crops) for crops, _ in usual]).cpu())
        if (init := self.config.init) is not None:
            trained, _ = load_network(find_model(init))
            if not isinstance(trained, StyledNetwork):
                start_from(network, init)
            elif trained.predictor is None:
                network.load_state_dict(trained.network.state_dict())
            else:
                styled.load_state_dict(
                    {**trained.state_dict(), "codes": styled.codes, "residuals": styled.residuals}
                )
        return PredictedStyles(styled)

    def see(self, pictures: Tensor) -> Tensor:
        """Return what the predictor sees of paintings, uint8 (N, 3, H, W): (N, P)."""
        return predictor_input(self.eyes.style_targets(to_unit_range(pictures.to(self.device))))

    def in_drawn_styles(self, position: int, count: int) -> tuple[Stylize, Tensor]:
        """Draw paintings, some of them mixed in pairs, and for each a strength."""
        drawn = content_batches(self.paintings.train, count, position, position + count)
        pictures = to_unit_range(next(drawn)[0].to(self.device))
        seen = self.eyes.style_targets(pictures)
        targets = seen
        if type(self.loss.loss_network) is not type(self.eyes.loss_network):
            targets = self.loss.style_targets(pictures)
        draws = [
            np.random.default_rng((self.config.seed, _STREAM, position + i)) for i in range(count)
        ]
        shares = torch.tensor(
            [random.random() * (random.random() < self.chosen.mixed) for random in draws],
            dtype=torch.float32,
            device=self.device,
        )
        strengths = torch.tensor(
            [random.uniform(-1, 1) for random in draws], dtype=torch.float32, device=self.device
        )
        self.loss.replace_styles(
            {name: mixed(each, shares) for name, each in targets.items()},
            self.config.loss.style_weight * 4**strengths,
        )
        stylize = partial(
            self.parallel, statistics=predictor_input(seen), shares=shares, strengths=strengths
        )
        return stylize, torch.arange(count, device=self.device)

    def after_step(self) -> None:
        """Leave the style's weight as it is: it is an input of the network."""

    def model(self) -> StyledNetwork:
        """Return the model as it stands, without styles of its own."""
        return self.ema.styled

    def describe_model(self, model: nn.Module) -> ModelInfo:
        """Return what the model file says: the training, and how large the predictor sees."""
        return replace(super().describe_model(model), predictor_px=self.chosen.size_px)

    def style_line(self) -> str:
        """Return what is trained on, in words."""
        return (
            f"{len(self.paintings.train.indices)} paintings in {self.chosen.path}, "
            f"{len(self.styles)} more to judge by"
        )

    def use(self) -> list[str]:
        """Return lines with the worst of the paintings judged by, and what can be done."""
        *worst, _ = super().use()
        return [
            *worst,
            f"stylize with   fst stylize {self.folder.model}:PAINTING PICTURE... -o OUT",
        ]

    def judged(self) -> StyledNetwork:
        """Return the model with the styles that it predicts for the paintings to judge by."""
        model = self.model()
        assert model.predictor is not None
        codes = model.predictor(self.see(self.paintings.heldout))
        for code in codes:
            model = model.with_style(code, torch.zeros_like(style_vector(model.network)))
        return model
