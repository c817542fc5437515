"""Enlarging with a trained network: `load_enlarger` a model, call it on tensors, pictures, frames.

>>> enlarge = fst.load_enlarger("upscale_x4")
>>> enlarge(PIL.Image.open("photo.jpg"))  # four times as wide and as high
>>> enlarge(frame, scale=3)  # numpy frames (H, W, 3), uint8 RGB
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fst.config import LARGEST_FACTOR
from fst.device import check_dtype, inference_dtype, pick_device, tf32
from fst.errors import UserError
from fst.models.exported import ExportedNetwork
from fst.models.model_file import read_model
from fst.models.model_info import ModelInfo
from fst.models.model_name import refuse_style
from fst.models.model_ref import ModelRef, find_model
from fst.models.running import RunningModel
from fst.models.runtime import open_exported
from fst.networks.registry import UPSCALERS
from fst.networks.upscaler import Upscaler
from fst.pictures.forms import Form, from_unit_range, in_form_of, to_images
from fst.pictures.image import MAX_PIXELS, to_unit_range
from fst.stylizing.options import check_tile_px
from fst.stylizing.tiles import split

TILE_PX = 256
"""Side of the tiles of the small picture, without their margins."""


class Enlarger(RunningModel):
    """A trained super-resolution network, ready to use: call it on pictures."""

    def __init__(
        self,
        network: Upscaler | ExportedNetwork,
        info: ModelInfo,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Move a network to the device and the dtype; an exported one has its own."""
        super().__init__(network, info, device, dtype)
        self.factor: int = (
            network.factor if isinstance(network, Upscaler) else info.network_arguments["factor"]
        )
        """How many times as wide and as high its results are."""

    @property
    def degradation(self) -> str:
        """How the small pictures were made that it was trained on (`fst.config.DEGRADATIONS`)."""
        network = self.network
        of_network = network.arguments if isinstance(network, Upscaler) else {}
        return str({**self.info.network_arguments, **of_network}.get("degradation", "bicubic"))

    def scale_of(self, scale: float | None) -> float:
        """Return how many times as wide and as high results are, the factor unless `scale` is set.

        Raises:
            UserError: the model does not reach this scale.
        """
        if scale is None:
            return self.factor
        if not 1 <= scale <= self.factor:
            raise UserError(
                f"scale={scale:g} must be in [1, {self.factor}], the model's own factor"
            )
        return scale

    @torch.no_grad()
    def __call__(
        self,
        picture: Form,
        *,
        scale: float | None = None,
        tile_px: int | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Form:
        """Enlarge a picture; the result has its type, range and device.

        Tiles give the values of a single pass: the network sees no farther than their margins.
        Several threads may call one `Enlarger`.

        Args:
            picture: a float tensor (N, 3, H, W) in [0, 1], a uint8 tensor of that shape, a PIL
                picture, or uint8 RGB frames (H, W, 3) or (N, H, W, 3). A PIL picture keeps its
                transparency.
            scale: how many times as wide and as high the result is, from 1 to the model's factor,
                which is the default; below it the full result is scaled down.
            tile_px: side of the tiles of the small picture; 0 never tiles, None takes `TILE_PX`
                (and no tiles for exported models).
            progress: called with the fraction of the tiles done, in [0, 1].

        Raises:
            UserError: the scale is out of range, the result would have more than `MAX_PIXELS` or
                is not finite.
        """
        check_tile_px(tile_px)
        chosen = self.scale_of(scale)
        images = to_images(picture)
        height, width = (length * self.factor for length in images.shape[-2:])
        if height * width > MAX_PIXELS:
            raise UserError(
                f"a picture of {images.shape[-1]}x{images.shape[-2]} pixels would become "
                f"{width}x{height}, above the limit of {MAX_PIXELS / 1e6:.0f} megapixels: scale "
                "it down first (--size)"
            )
        result = images.new_empty(len(images), 3, height, width)
        for number, one in enumerate(torch.split(images, 1)):
            self._enlarge(one, result[number, None], tile_px, progress)
        if chosen != self.factor:
            size = [max(1, round(length * chosen)) for length in images.shape[-2:]]
            result = torch.cat([_scale(one, size) for one in torch.split(result, 1)])
        return in_form_of(result, picture)

    def _enlarge(
        self,
        image: Tensor,
        result: Tensor,
        tile_px: int | None,
        progress: Callable[[float], None],
    ) -> None:
        """Write what the network makes of (1, 3, H, W) into `result`, tile by tile."""
        height, width = image.shape[-2:]
        network, factor = self.network, self.factor
        margin_px = 0
        if isinstance(network, Upscaler):
            side = TILE_PX if tile_px is None else tile_px
            margin_px = network.margin_px
        elif tile_px:
            raise UserError(f"tile_px={tile_px}: exported models do not support tiles")
        else:
            side = 0
        tiles = split(height, width, side or max(height, width), margin_px)
        for number, tile in enumerate(tiles, 1):
            rows, columns = tile.outer
            small = to_unit_range(image[..., rows, columns].to(self.device))
            with tf32(self.device, allowed=False):
                enlarged = network(small).float()
            expected = [length * factor for length in small.shape[-2:]]
            if list(enlarged.shape[-2:]) != expected:
                raise UserError(f"the model does not enlarge by {factor}, as its file says")
            self.check_finite(enlarged)
            rows, columns = (slice(s.start * factor, s.stop * factor) for s in tile.inner)
            result[..., rows, columns] = from_unit_range(tile.keep(enlarged), image)
            progress(number / len(tiles))


def _scale(image: Tensor, size: list[int]) -> Tensor:
    """Return (1, 3, H, W) scaled down, in its dtype."""
    floats = to_unit_range(image)
    scaled = F.interpolate(floats, size, mode="bicubic", antialias=True).clamp(0, 1)
    return from_unit_range(scaled, image)


def load_enlarger(name_or_path: str | Path, device: str = "auto", dtype: str = "auto") -> Enlarger:
    """Return the `Enlarger` of a model file, a run folder or a released model's name.

    Args:
        name_or_path: what `fst.models.model_ref.find_model` takes, `.onnx` and `.pt2` among them.
        device: `cuda`, `mps`, `cpu` ...; `auto` takes the first available of these.
        dtype: `fp32`, `fp16` or `bf16`; `auto` takes the device's fastest.

    Raises:
        FileNotFoundError: there is no such model.
        UserError: it does not enlarge pictures, is damaged, or there is no such device or dtype.
    """
    return open_enlarger(find_model(name_or_path), device, dtype)


def open_enlarger(ref: ModelRef, device: str = "auto", dtype: str = "auto") -> Enlarger:
    """Return the `Enlarger` of a model that was found; otherwise as `load_enlarger`."""
    check_dtype(dtype)
    if ref.is_exported:
        exported = open_exported(ref.path, device, dtype, None)
        factor = exported.info.network_arguments.get("factor")
        usable = type(factor) is int and 2 <= factor <= LARGEST_FACTOR
        if exported.info.network not in UPSCALERS or not usable:
            raise UserError(f"{ref.path} is not a model that enlarges pictures")
        refuse_style(ref.path, ref.choice)
        return Enlarger(exported, exported.info, exported.device, torch.float32)
    chosen_device = pick_device(device)
    model = read_model(ref.path)
    network = model.upscaler
    refuse_style(ref.path, ref.choice)
    return Enlarger(network, model.info, chosen_device, inference_dtype(dtype, chosen_device))
