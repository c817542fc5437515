"""Training for super-resolution: photographs are downscaled, and a network enlarges them again.

The loop, the pictures, the loss networks and the model file are those of style transfer.
"""

import dataclasses

import torch
from torch import Tensor, nn

from fst.config import TrainUpscalerConfig
from fst.data.full_size import KEPT_BYTES, FullSizeDataset
from fst.losses.upscaling import UpscalingLoss
from fst.models.model_file import describe
from fst.models.model_info import ModelInfo
from fst.networks.cost import count_flops, count_parameters
from fst.networks.registry import build_upscaler
from fst.networks.upscaler import Upscaler
from fst.pictures.fidelity import psnr
from fst.pictures.image import enlarge_bicubic, in_8_bits, to_unit_range
from fst.pictures.sheet import labelled_sheet
from fst.training.resumable import fingerprint
from fst.training.setup import load_in_turn, start_from
from fst.training.task import Context, Task, Validation


class UpscalingTask(Task):
    """A super-resolution network."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.config: TrainUpscalerConfig = context.config
        config, data = self.config, context.data
        processes = max(1, config.data.workers) * context.world.size  # each keeps its own pictures
        data.train = FullSizeDataset(data.train, KEPT_BYTES // processes)
        arguments = config.network.arguments()
        loss_network = None
        if config.loss.feature_weight:
            layers = {config.loss.feature_layer}
            loss_network = load_in_turn(config.loss_network, layers, context.world, self.device)
        self.loss = UpscalingLoss(config.loss, config.network.factor, loss_network)
        self.inputs = {
            "the pictures in data.path": data.fingerprint,
            "the held-out pictures": fingerprint([data.heldout]),
            "the weights of the loss network": fingerprint(self.loss.state_dict().values()),
        }
        torch.manual_seed(config.seed)
        network = build_upscaler(config.network.name, arguments)
        if config.init is not None and not context.resumes:
            start_from(network, config.init)
        self.begin_with(network)
        self.upscaler = network

    def terms(self, images: Tensor, position: int) -> dict[str, Tensor]:
        """Return the means of the loss's terms."""
        enlarged, original = self.enlarge(images)
        terms = self.loss(enlarged, original, position // len(images))
        return {name: values.mean() for name, values in terms.items()}

    def enlarge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network makes of pictures that were downscaled, and the originals.

        Args:
            images: uint8 (N, 3, S, S).

        Returns:
            Both (N, 3, S, S) in [0, 1].
        """
        original = to_unit_range(images.to(self.device, non_blocking=True))
        return self.descent.parallel(self.small(original)).float(), original

    @torch.no_grad()
    def small(self, original: Tensor) -> Tensor:
        """Return what the network is given for pictures (N, 3, H, W), in its memory layout."""
        return to_unit_range(in_8_bits(self.upscaler.downscale(original)))

    @torch.no_grad()
    def validate(self) -> Validation:
        """Measure the model on held-out pictures, and show them beside bicubic enlargement."""
        original = to_unit_range(self.context.heldout)
        small = self.small(original)
        enlarged = torch.cat([self.average(each[None]) for each in small])
        found = self.loss(enlarged, original)
        terms = {name: values.mean().item() for name, values in found.items()}
        border = self.config.network.factor
        terms["psnr"] = psnr(enlarged.cpu(), original.cpu(), border).mean().item()
        bicubic = enlarge_bicubic(small, border)
        rows = [
            [picture[None].cpu() for picture in row]
            for row in zip(bicubic[:4], enlarged[:4], original[:4], strict=True)
        ]
        return Validation(terms, labelled_sheet(["bicubic", "model", "original"], rows))

    def describe(
        self, model: nn.Module, seen_images: int, terms: dict[str, float], totals: dict[str, float]
    ) -> ModelInfo:
        """Return what the model file says."""
        assert isinstance(model, Upscaler)
        return describe(
            model,
            title=str(self.config.name).rpartition("/")[2],
            seen_images=seen_images,
            losses=terms,
            loss_network=self.config.loss_network.name if self.config.loss.feature_weight else "",
            training_config=dataclasses.asdict(self.config),
        )

    def about(self) -> list[str]:
        """Return lines that describe the run."""
        config = self.config
        factor = config.network.factor
        flops = count_flops(self.upscaler, 512 // factor, 512 // factor)
        features = ""
        if config.loss.feature_weight:
            features = f", {config.loss.feature_layer} of {config.loss_network.name}"
        return [
            f"{config.network.name} network, x{factor}: {count_parameters(self.descent.network):,} "
            f"parameters, {flops / 1e9:.1f} GFLOP for 512x512",
            self.context.data.summary,
            f"{config.loss.name} loss{features}; on {self.device}, {self.context.world.size} "
            f"process(es), {self.descent.precision}",
        ]

    def use(self, totals: dict[str, float]) -> list[str]:
        """Return lines that say what can be done with the result."""
        return [f"enlarge with   fst upscale {self.context.folder.model} PICTURE... -o OUT"]
