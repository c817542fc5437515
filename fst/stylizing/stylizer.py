"""Stylizing with a trained network: `load` a model, call it on tensors, pictures or frames.

>>> stylize = fst.load("the_scream")
>>> stylize(fst.read_image("photo.jpg"))  # tensors (N, 3, H, W), float in [0, 1]
>>> stylize(PIL.Image.open("photo.jpg"), strength=0.7)  # pictures
>>> stylize(frame, keep_colors=True)  # numpy frames (H, W, 3), uint8 RGB
"""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fst.device import check_dtype, inference_dtype, pick_device, prepare_compiler, tf32
from fst.errors import UserError
from fst.models.model_file import find_model, for_super_resolution, load_chosen
from fst.models.model_info import ModelInfo
from fst.models.model_name import split_models, split_style
from fst.models.runtime import EXPORTED, ExportedNetwork, open_exported
from fst.models.style_choice import StyleChoice
from fst.networks.registry import UPSCALERS
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler
from fst.pictures.forms import Picture, from_unit_range, in_form_of, to_images
from fst.pictures.image import luminance, to_unit_range
from fst.pictures.mask import mask_of, stretched
from fst.report import few
from fst.stylizing.options import MOST_STRENGTH, Options, check_strength
from fst.stylizing.strokes import scaled, with_details
from fst.stylizing.tiles import stylize_in_tiles

TILE_PX = 1024
WHOLE_PX = 4_000_000
"""A picture of more pixels is stylized in tiles, unless `tile_px` says otherwise."""
LEAST_TRAINED = 0.5
"""Strength from which it is an input of a network that has it, up to `MOST_STRENGTH`: the style's
weight is a quarter of its default here, and four times that there."""
_COMPILED_SIZES = 2**20
_STRENGTHS = 8  # of which the networks are kept


class Stylizer:
    """A trained network, ready to use: call it on pictures. `fst.load` makes one."""

    def __init__(
        self,
        network: TransformerNetwork | ExportedNetwork,
        info: ModelInfo,
        device: torch.device,
        dtype: torch.dtype,
        choice: StyleChoice | None = None,
    ) -> None:
        """Move a network to the device and the dtype; an exported one has its own.

        Args:
            network: what stylizes.
            info: its metadata.
            device: where.
            dtype: of its weights.
            choice: what the network is a style of, where its strength was trained.
        """
        if isinstance(network, TransformerNetwork):
            network = network.eval().to(device, dtype).to(memory_format=torch.channels_last)
            self.engine = f"torch {str(dtype).removeprefix('torch.')} on {device}"
        else:
            self.engine = network.engine
        self.network = network
        self.compiled = False
        self.info = info
        self.device = device
        self.dtype = dtype
        self.choice = choice
        self.turned: dict[float, Stylizer] = {}

    def compile(self) -> None:
        """Compile the network at the first picture of each size, which takes 5 to 30 s.

        Compiled code is kept in the cache folder. On CUDA, CUDA graphs are used.

        Raises:
            UserError: it is an exported model, or the CPU's C++ compiler is missing.
        """
        if not isinstance(self.network, TransformerNetwork):
            raise UserError(f"--compile is not for exported models: {self.engine} runs this one")
        prepare_compiler(self.device)
        self.engine += ", compiled"
        self.compiled = True
        # Beyond its limit of 8 sizes torch would run the network uncompiled, without saying so.
        torch.compiler.config.recompile_limit = _COMPILED_SIZES
        torch.compiler.config.accumulated_recompile_limit = _COMPILED_SIZES
        mode = "reduce-overhead" if self.device.type == "cuda" else None
        self.network.compile(dynamic=False, mode=mode)

    @property
    def workers(self) -> int:
        """The number of threads that should call this at once to stylize a video's frames.

        On a CPU two threads, each with half of torch's threads, finish more frames than one with
        all of them. Compiled code has a fixed number of threads, and exported models their own.
        """
        eager = isinstance(self.network, TransformerNetwork) and not self.compiled
        return 2 if eager and self.device.type == "cpu" and torch.get_num_threads() > 1 else 1

    @property
    def most_strength(self) -> float:
        """The largest `strength`: 1, or 1.5 for models that take any painting."""
        return MOST_STRENGTH if self.choice and self.choice.has_strength else 1.0

    @property
    def fixed_size(self) -> bool:
        """Whether this is an exported model that takes pictures of one size only."""
        network = self.network
        return isinstance(network, ExportedNetwork) and network.export.size is not None

    @torch.no_grad()  # not inference_mode: its results could not be used in a loss
    def __call__(
        self,
        picture: Picture,
        *,
        strength: float = 1.0,
        keep_colors: bool = False,
        mask: Tensor | Image.Image | None = None,
        strokes: float = 1.0,
        tile_px: int | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Picture:
        """Stylize a picture; the result has its size, type, range and device.

        Several threads may call one `Stylizer`.

        Args:
            picture: a float tensor (N, 3, H, W) in [0, 1], a uint8 tensor of that shape, a PIL
                picture, or uint8 RGB frames (H, W, 3) or (N, H, W, 3). A PIL picture keeps its
                transparency, and the result is sRGB.
            strength: 1 is the network's result, 0 the picture itself; values between blend them.
                Models that take any painting have the strength as a trained input, from 0.5 to
                `most_strength`, and blend only below that.
            keep_colors: take only the luminance from the result and the colours from the picture.
            mask: where to stylize, white, and where to keep the picture, black: a tensor
                (1, 1, H, W) in [0, 1], or a PIL picture, which is stretched over the picture.
            strokes: size of strokes and shapes, relative to that of the training. The picture is
                stylized, and tiled, at 1/`strokes` of its resolution.
            tile_px: tile side in pixels; 0 never tiles, None tiles above 4 megapixels.
            progress: called with the fraction of the tiles done, in [0, 1].

        Raises:
            UserError: a setting is out of range, or the result is not finite.
            TypeError: the picture or the mask is of another type, such as a path.
            ValueError: they are of another shape or dtype.
        """
        Options(strength=strength, strokes=strokes, tile_px=tile_px)  # checks them
        check_strength(strength, self.most_strength)
        turned, strength = self._turn(strength)
        images = to_images(picture)
        height, width = images.shape[-2:]
        if mask is not None:
            mask = _to_mask(mask, height, width)
        options = (strength, keep_colors, mask)
        if strokes != 1:
            if self.fixed_size:
                raise UserError(
                    f"strokes={strokes}: this model was exported for one size of picture; leave "
                    "it out, or export the model without --size"
                )
            content = self._content(images)
            seen = scaled(content, 1 / strokes)
            stylized = with_details(turned(seen, tile_px=tile_px, progress=progress), content, seen)
            return in_form_of(from_unit_range(blend(content, stylized, *options), images), picture)
        network = turned.network
        if tile_px is None and isinstance(network, TransformerNetwork):
            tile_px = TILE_PX if height * width > WHOLE_PX else 0
        if tile_px:
            if not isinstance(network, TransformerNetwork):
                raise UserError(
                    f"tile_px={tile_px}: exported models do not support tiles; leave it out or "
                    "use the .safetensors"
                )
            done = [
                turned._in_tiles(network, one, tile_px, progress, *options)
                for one in torch.split(images, 1)
            ]
            return in_form_of(torch.cat(done) if len(done) > 1 else done[0], picture)
        content = self._content(images)
        stylized = turned.run(content)
        return in_form_of(from_unit_range(blend(content, stylized, *options), images), picture)

    def _turn(self, strength: float) -> tuple["Stylizer", float]:
        """Return the stylizer that was trained for a strength, and what is left of it to blend.

        Networks of the last few strengths are kept.
        """
        if self.choice is None or not self.choice.has_strength:
            return self, strength
        trained = max(LEAST_TRAINED, strength)
        if trained == 1:
            return self, 1.0
        turned = self.turned.get(trained)
        if turned is None:
            network = self.choice.folded(2 * (trained - 1)).requires_grad_(False)
            turned = Stylizer(network, self.info, self.device, self.dtype)
            if self.compiled:
                turned.compile()
            kept = list(self.turned.items())[1 - _STRENGTHS :]
            self.turned = {**dict(kept), trained: turned}  # anew: threads may be reading it
        return turned, strength / trained

    @torch.no_grad()
    def run(self, content: Tensor) -> Tensor:
        """Return the network's own result: (N, 3, H, W) on `device`, float in [0, 1], in one piece.

        A network in fp32 computes without TF32.

        Raises:
            UserError: the result is not finite.
        """
        with tf32(self.device, allowed=False):
            stylized: Tensor = self.network(content.to(self.dtype))
        self._check_finite(stylized)
        return stylized.to(torch.float32, copy=True)  # CUDA graphs reuse theirs

    def _content(self, images: Tensor) -> Tensor:
        """Return (N, 3, H, W), uint8 or float in [0, 1], as the network's input, in float32."""
        # fp64 does not exist on MPS.
        dtype = torch.float32 if images.is_floating_point() else images.dtype
        return to_unit_range(images.to(self.device, dtype))

    def _in_tiles(
        self,
        network: TransformerNetwork,
        image: Tensor,
        tile_px: int,
        progress: Callable[[float], None],
        strength: float,
        keep_colors: bool,
        mask: Tensor | None,
    ) -> Tensor:
        """Stylize one picture, (1, 3, H, W), in bounded memory besides it and its result."""
        result = torch.empty_like(image)

        def read(rows: slice, columns: slice) -> Tensor:
            return self._content(image[..., rows, columns]).to(self.dtype)

        def write(rows: slice, columns: slice, stylized: Tensor) -> None:
            content = self._content(image[..., rows, columns])
            mask_here = None if mask is None else mask[..., rows, columns]
            self._check_finite(stylized)
            blended = blend(content, stylized.float(), strength, keep_colors, mask_here)
            result[..., rows, columns] = from_unit_range(blended, image)

        height, width = image.shape[-2:]
        with tf32(self.device, allowed=False):
            stylize_in_tiles(network, height, width, tile_px, read, write, progress)
        return result

    def _check_finite(self, stylized: Tensor) -> None:
        # The sum of values in [0, 1] is finite, and much cheaper than looking at each.
        if not torch.isfinite(stylized.sum(dtype=torch.float32)):
            way_out = "" if self.dtype == torch.float32 else ", or try dtype fp32"
            raise UserError(f"the result is not finite: the model may be damaged{way_out}")


def load(name_or_path: str | Path, device: str = "auto", dtype: str = "auto") -> Stylizer:
    """Load a model and return a `Stylizer`, ready to be called on pictures.

    Args:
        name_or_path: the name of a released model or of a run in `runs/`, a run folder, or a model
            file, exported ones (`.onnx`, `.pt2`) included. `MODEL:STYLE` takes one of several
            styles, `MODEL:STYLE=0.7,STYLE=0.3` a blend, `any:painting.jpg` any painting.
        device: `cuda`, `mps`, `cpu` ...; `auto` takes the first available of these.
        dtype: `fp32`, `fp16` or `bf16`; `auto` takes the device's fastest. `fp32` is exact on
            CUDA, without TF32. Exported models have their own dtype.

    Raises:
        FileNotFoundError: there is no such model.
        ImportError: it is an ONNX model, and onnxruntime is not installed.
        UserError: the file is damaged or not a model, or there is no such device or dtype.
    """
    check_dtype(dtype)
    path = find_model(name_or_path)
    style = split_style(name_or_path)[1]
    if path.suffix in EXPORTED:
        exported = open_exported(path, device, dtype, style)
        if exported.info.network in UPSCALERS:
            raise for_super_resolution(path)
        return Stylizer(exported, exported.info, exported.device, torch.float32)
    place = pick_device(device)
    network, info, choice = load_chosen(path, style)
    if isinstance(network, Upscaler):
        raise for_super_resolution(path)
    return Stylizer(network, info, place, inference_dtype(dtype, place), choice)


def load_several(
    names_or_paths: str, device: str = "auto", dtype: str = "auto"
) -> dict[str, Stylizer]:
    """Return the `Stylizer`s of one model, or of several comma-separated ones, by output folder.

    The folder's name is the model's title, or where titles repeat, that of the run or the file.

    Raises:
        UserError: as `load`, or two models have the same name.
    """
    names = split_models(names_or_paths)
    paths = [_find(name) for name in names]
    loaded = [load(name, device, dtype) for name in names]
    titles = [stylizer.info.title for stylizer in loaded]
    stylizers: dict[str, Stylizer] = {}
    for path, stylizer, title in zip(paths, loaded, titles, strict=True):
        if not title or titles.count(title) > 1:
            title = path.parent.name if path.stem == "model" else path.stem
        # A title may come from a stranger's file: it must not lead out of the output folder.
        name = re.sub(r"[^\w .,=+-]", "_", title).strip(". ") or "model"
        if name in stylizers:
            raise UserError(f"two models are named {name!r}: run them separately")
        stylizers[name] = stylizer
    return stylizers


def _find(name_or_path: str) -> Path:
    """Return what `find_model` does; for a sweep's folder, raise an error that names its runs."""
    try:
        return find_model(name_or_path)
    except FileNotFoundError:
        for folder in (Path(name_or_path), Path("runs") / name_or_path):
            if runs := sorted(str(file.parent) for file in folder.rglob("model.safetensors")):
                raise FileNotFoundError(
                    f"{folder} is not a run but holds {len(runs)}: choose among {few(runs)}"
                ) from None
        raise


def blend(
    content: Tensor,
    stylized: Tensor,
    strength: float = 1.0,
    keep_colors: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """Return the stylized picture blended over the content, both (N, 3, H, W) in [0, 1].

    Args:
        content: the picture.
        stylized: the network's result.
        strength: how much of the result shows, in [0, 1].
        keep_colors: take only the luminance from the result (Gatys et al. 2016, "Preserving
            color in neural artistic style transfer", section 2.2).
        mask: (N or 1, 1, H, W) in [0, 1]: how much of the result shows where.
    """
    if keep_colors:
        stylized = (content + luminance(stylized - content)).clamp(0, 1)
    if mask is not None:
        return content + strength * mask.to(content) * (stylized - content)
    return stylized if strength == 1 else torch.lerp(content, stylized, strength)


def _to_mask(mask: Tensor | Image.Image, height: int, width: int) -> Tensor:
    """Return a mask as (1, 1, height, width) in [0, 1]; a PIL picture is stretched to that size."""
    if isinstance(mask, Image.Image):
        return stretched(mask_of(mask), height, width)
    if not isinstance(mask, Tensor):
        raise TypeError(f"expected a mask as a tensor or a PIL picture, not {type(mask)}")
    if mask.shape != (1, 1, height, width):
        raise ValueError(
            f"expected a mask of shape (1, 1, {height}, {width}), not {tuple(mask.shape)}"
        )
    return mask
