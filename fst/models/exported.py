"""What the runtimes of exported models share: a file as a function from picture to picture."""

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from fst.errors import UserError
from fst.models.export_info import ExportInfo
from fst.models.model_info import ModelInfo
from fst.networks.registry import UPSCALERS


class ExportedNetwork(ABC):
    """An exported model: call it on (N, 3, H, W) in [0, 1] for its result."""

    path: Path
    engine: str
    """The name of what runs it."""
    device: torch.device
    """The device of its input."""
    info: ModelInfo
    export: ExportInfo
    shares: Tensor | None = None
    """Of a file that blends, (K,): the shares of its styles."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return the result for (N, 3, H, W), float in [0, 1].

        Raises:
            UserError: the picture does not have the size that the model was exported for, or the
                model fails or returns something else than a picture.
        """
        if self.export.size not in (None, tuple(image.shape[-2:])):
            height, width = self.export.size or ()
            raise UserError(
                f"this model was exported for pictures of {height}x{width} only (height x width), "
                f"not {image.shape[-2]}x{image.shape[-1]}: use the .safetensors, or export it "
                "without --size"
            )
        given = image.float()
        if self.export.uint8:
            given = given.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
        else:
            given = given * self.export.range_max
        result = self.run(given)
        sides = (1, 2) if self.export.uint8 else (2, 3)
        due = [px * (self.factor if at in sides else 1) for at, px in enumerate(given.shape)]
        if list(result.shape) != due or result.dtype != given.dtype:
            raise UserError(
                f"{self.path} is damaged: its result is {tuple(result.shape)} of {result.dtype}, "
                f"not {tuple(due)} of {given.dtype}"
            )
        if self.export.uint8:
            return result.permute(0, 3, 1, 2).float() / 255
        return result / self.export.range_max

    @property
    def factor(self) -> int:
        """How many times as wide and high as the picture the result is."""
        factor = self.info.network_arguments.get("factor")
        return factor if self.info.network in UPSCALERS and type(factor) is int else 1

    @abstractmethod
    def run(self, image: Tensor) -> Tensor:
        """Run the file on an input of the kind that it was exported for."""
