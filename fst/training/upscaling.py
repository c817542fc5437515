"""Training for super-resolution: photographs are downscaled, and a network enlarges them again.

The loop, the pictures, the loss networks and the model file are those of style transfer.
"""

import dataclasses
from collections.abc import Collection

import torch
from torch import Tensor, nn

from fst.config import TrainUpscalerConfig
from fst.data.full_size import KEPT_BYTES, FullSizeDataset
from fst.losses.upscaling import UpscalingLoss
from fst.models.model_file import describe
from fst.models.model_info import ModelInfo
from fst.networks.cost import count_flops, count_parameters
from fst.networks.downscale import Downscale
from fst.networks.registry import build_upscaler
from fst.networks.upscaler import Upscaler
from fst.pictures.fidelity import psnr
from fst.pictures.image import enlarge_bicubic, rounded, to_unit_range
from fst.pictures.sheet import labelled_sheet
from fst.training.distributed import World
from fst.training.resumable import fingerprint
from fst.training.run import TrainingRun, run_training
from fst.training.setup import load_in_turn, start_from
from fst.training.tracking import Tracker


def train_upscaler(
    config: TrainUpscalerConfig, console: bool = False, swept: Collection[str] = ()
) -> int:
    """Train a network as configured, or resume it; see `run_training`.

    Args:
        config: everything; `fst.config.TrainUpscalerConfig` documents each field.
        console: print progress.
        swept: the keys that differ between the runs of a sweep.
    """
    return run_training(UpscalerTrainer, config, console, swept)


class UpscalerTrainer(TrainingRun):
    """A run that trains a super-resolution network."""

    config: TrainUpscalerConfig
    network: Upscaler
    ema: Upscaler

    def __init__(self, config: TrainUpscalerConfig, world: World, device: torch.device) -> None:
        super().__init__(config, world, device)
        processes = max(1, config.data.workers) * world.size  # each keeps pictures of its own
        self.data.train = FullSizeDataset(self.data.train, KEPT_BYTES // processes)
        arguments = config.network.arguments()
        self.downscale = Downscale(config.network.factor, arguments["degradation"]).to(device)
        loss_network = None
        if config.loss.feature_weight:
            layers = {config.loss.feature_layer}
            loss_network = load_in_turn(config.loss_network, layers, world, device)
        self.loss = UpscalingLoss(config.loss, config.network.factor, loss_network)
        self.inputs = {
            "the pictures in data.path": self.data.fingerprint,
            "the held-out pictures": fingerprint([self.data.heldout]),
            "the weights of the loss network": fingerprint(self.loss.state_dict().values()),
        }
        torch.manual_seed(config.seed)
        network = build_upscaler(config.network.name, arguments)
        if config.init is not None and not self.folder.state.exists():
            start_from(network, config.init)
        self.begin_with(network)

    def terms(self, images: Tensor, position: int) -> dict[str, Tensor]:
        """Return the means of the loss's terms."""
        original = to_unit_range(images.to(self.device, non_blocking=True))
        small = self.small(original)
        enlarged = self.parallel(small).float()
        terms = self.loss(enlarged, original, position // len(images))
        return {name: values.mean() for name, values in terms.items()}

    @torch.no_grad()
    def small(self, original: Tensor) -> Tensor:
        """Return what the network is given for pictures (N, 3, H, W), in its memory layout."""
        return to_unit_range(rounded(self.downscale(original)))

    @torch.no_grad()
    def judge(self, tracker: Tracker) -> dict[str, float]:
        """Measure the model on held-out pictures, and show them beside bicubic enlargement."""
        if not self.world.is_main or not len(self.heldout):
            return {}
        original = to_unit_range(self.heldout)
        small = self.small(original)
        enlarged = torch.cat([self.ema(each[None]) for each in small])
        found = self.loss(enlarged, original)
        terms = {name: values.mean().item() for name, values in found.items()}
        border = self.config.network.factor
        terms["psnr"] = psnr(enlarged.cpu(), original.cpu(), border).mean().item()
        self.heldout_terms = terms
        bicubic = enlarge_bicubic(small, border)
        rows = [
            [picture[None].cpu() for picture in row]
            for row in zip(bicubic[:4], enlarged[:4], original[:4], strict=True)
        ]
        sheet = labelled_sheet(["bicubic", "model", "original"], rows)
        tracker.contact_sheet(sheet, self.seen_images)
        return {f"heldout/{name}": value for name, value in terms.items()}

    def describe_model(self, model: nn.Module) -> ModelInfo:
        """Return what the model file says."""
        assert isinstance(model, Upscaler)
        return describe(
            model,
            title=str(self.config.name).rpartition("/")[2],
            seen_images=self.seen_images,
            losses=self.heldout_terms,
            loss_network=self.config.loss_network.name if self.config.loss.feature_weight else "",
            training_config=dataclasses.asdict(self.config),
        )

    def about(self) -> list[str]:
        """Return lines that describe the run."""
        config = self.config
        factor = config.network.factor
        flops = count_flops(self.ema, 512 // factor, 512 // factor)
        features = ""
        if config.loss.feature_weight:
            features = f", {config.loss.feature_layer} of {config.loss_network.name}"
        return [
            f"{config.network.name} network, x{factor}: {count_parameters(self.network):,} "
            f"parameters, {flops / 1e9:.1f} GFLOP for 512x512",
            self.data.summary,
            f"{config.loss.name} loss{features}; on {self.device}, {self.world.size} process(es), "
            f"{self.precision}",
        ]

    def use(self) -> list[str]:
        """Return lines that say what can be done with the result."""
        return [f"enlarge with   fst upscale {self.folder.model} PICTURE... -o OUT"]
