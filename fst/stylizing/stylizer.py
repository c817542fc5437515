"""Stylizing with a trained network: `load` a model, call it on tensors, pictures or frames.

>>> stylize = fst.load("the_scream")
>>> stylize(fst.read_image("photo.jpg"))  # tensors (N, 3, H, W), float in [0, 1]
>>> stylize(PIL.Image.open("photo.jpg"), strength=0.7)  # pictures
>>> stylize(frame, keep_colors=True)  # numpy frames (H, W, 3), uint8 RGB
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fst.device import check_dtype, inference_dtype, pick_device, prepare_compiler, tf32
from fst.errors import UserError
from fst.models.exported import ExportedNetwork
from fst.models.model import Model, for_super_resolution
from fst.models.model_file import open_model
from fst.models.model_info import ModelInfo
from fst.models.model_ref import ModelRef, find_model
from fst.models.running import RunningModel
from fst.models.runtime import open_exported
from fst.models.style_choice import StyleChoice
from fst.networks.registry import UPSCALERS
from fst.networks.transformer import TransformerNetwork
from fst.pictures.forms import Form, from_unit_range, in_form_of, to_images
from fst.pictures.image import luminance, to_unit_range
from fst.pictures.mask import lay_over, mask_of, opacities, stretch
from fst.stylizing.look import Look
from fst.stylizing.options import MAX_STRENGTH, check_strength, check_tile_px
from fst.stylizing.protection import weaken_on_faces
from fst.stylizing.strokes import scale, with_details
from fst.stylizing.tiles import stylize_in_tiles

TILE_PX = 1024
WHOLE_PX = 4_000_000
"""A picture of more pixels is stylized in tiles, unless `tile_px` says otherwise."""
MIN_TRAINED = 0.5
"""Strength from which it is an input of a network that has it, up to `MAX_STRENGTH`: the style's
weight is a quarter of its default here, and four times that there."""
_COMPILED_SIZES = 2**20
_STRENGTHS = 8  # of which the networks are kept


class Stylizer(RunningModel):
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
        super().__init__(network, info, device, dtype)
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
    def most_strength(self) -> float:
        """The largest `strength`: 1, or 1.5 for models that take any painting."""
        return MAX_STRENGTH if self.choice and self.choice.has_strength else 1.0

    @property
    def fixed_size(self) -> bool:
        """Whether this is an exported model that takes pictures of one size only."""
        network = self.network
        return isinstance(network, ExportedNetwork) and network.export.size is not None

    @torch.no_grad()  # not inference_mode: its results could not be used in a loss
    def __call__(
        self,
        picture: Form,
        *,
        strength: float = 1.0,
        keep_colors: bool = False,
        mask: Tensor | Image.Image | None = None,
        regions: Sequence[tuple[Tensor | Image.Image, "Stylizer"]] = (),
        protect_faces: bool = False,
        strokes: float = 1.0,
        tile_px: int | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Form:
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
            regions: masks in which other models stylize, from the lowest up, with these models;
                their values are weights. Later ones lie over earlier ones, and this model has what
                they leave. The other settings hold for every region.
            protect_faces: halve the strength on faces, with soft edges.
            strokes: size of strokes and shapes, relative to that of the training. The picture is
                stylized, and tiled, at 1/`strokes` of its resolution.
            tile_px: tile side in pixels; 0 never tiles, None tiles above 4 megapixels.
            progress: called with the fraction of the tiles done, in [0, 1].

        Raises:
            UserError: a setting is out of range, or the result is not finite.
            TypeError: the picture or a mask is of another type, such as a path.
            ValueError: they are of another shape or dtype.
            ImportError: faces are to be protected, and the extra `evaluate` is not installed.
        """
        images = to_images(picture)
        size = images.shape[-2:]
        look = Look(strength, keep_colors, None if mask is None else _to_mask(mask, *size), strokes)
        if protect_faces:
            look, _ = weaken_on_faces(look, images)
        layers = [(_to_mask(where, *size).to(images.device), other) for where, other in regions]
        return in_form_of(self.render(images, look, tile_px, progress, layers), picture)

    @torch.no_grad()
    def render(
        self,
        images: Tensor,
        look: Look,
        tile_px: int | None = None,
        progress: Callable[[float], None] = lambda share: None,
        regions: Sequence[tuple[Tensor, "Stylizer"]] = (),
    ) -> Tensor:
        """Stylize (N, 3, H, W), float in [0, 1] or uint8; the rest is as in `__call__`.

        Raises:
            UserError: `tile_px` or the strength is out of range, or the result is not finite.
        """
        passes = len(regions) + 1

        def share_of(number: int) -> Callable[[float], None]:
            return lambda share: progress((number + share) / passes)

        result = self._render_alone(images, look, tile_px, share_of(0))
        layers = opacities([mask for mask, _ in regions])
        for number, ((_, other), opacity) in enumerate(zip(regions, layers, strict=True), 1):
            above = other._render_alone(images, look, tile_px, share_of(number))
            lay_over(result, above, opacity)
        return result

    def _render_alone(
        self,
        images: Tensor,
        look: Look,
        tile_px: int | None,
        progress: Callable[[float], None],
    ) -> Tensor:
        """Stylize without regions."""
        check_tile_px(tile_px)
        check_strength(look.strength, self.most_strength)
        turned, left = self._turn(look.strength)
        look = replace(look, strength=left)
        height, width = images.shape[-2:]
        if look.strokes != 1:
            if self.fixed_size:
                raise UserError(
                    f"strokes={look.strokes}: this model was exported for one size of picture; "
                    "leave it out, or export the model without --size"
                )
            content = self._content(images)
            seen = scale(content, 1 / look.strokes)
            stylized = turned._render_alone(seen, Look(), tile_px, progress)
            stylized = with_details(stylized, content, seen)
            return from_unit_range(blend(content, stylized, look), images)
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
                turned._in_tiles(network, one, tile_px, progress, look.of(number))
                for number, one in enumerate(torch.split(images, 1))
            ]
            return torch.cat(done) if len(done) > 1 else done[0]
        content = self._content(images)
        return from_unit_range(blend(content, turned.run(content), look), images)

    def _turn(self, strength: float) -> tuple["Stylizer", float]:
        """Return the stylizer that was trained for a strength, and what is left of it to blend.

        Networks of the last few strengths are kept.
        """
        if self.choice is None or not self.choice.has_strength:
            return self, strength
        trained = max(MIN_TRAINED, strength)
        if trained == 1:
            return self, 1.0
        turned = self.turned.get(trained)
        if turned is None:
            network = self.choice.fold(2 * (trained - 1)).requires_grad_(False)
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
        self.check_finite(stylized)
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
        look: Look,
    ) -> Tensor:
        """Stylize one picture, (1, 3, H, W), in bounded memory besides it and its result."""
        result = torch.empty_like(image)

        def read(rows: slice, columns: slice) -> Tensor:
            return self._content(image[..., rows, columns]).to(self.dtype)

        def write(rows: slice, columns: slice, stylized: Tensor) -> None:
            content = self._content(image[..., rows, columns])
            self.check_finite(stylized)
            blended = blend(content, stylized.float(), look.within(rows, columns))
            result[..., rows, columns] = from_unit_range(blended, image)

        height, width = image.shape[-2:]
        with tf32(self.device, allowed=False):
            stylize_in_tiles(network, height, width, tile_px, read, write, progress)
        return result


def load(name_or_path: str | Path, device: str = "auto", dtype: str = "auto") -> Stylizer:
    """Load a model and return a `Stylizer`, ready to be called on pictures.

    Args:
        name_or_path: the name of a released model or of a run in `runs/`, a run folder, or a model
            file, exported ones (`.onnx`, `.pt2`) included. `MODEL:STYLE` takes one of several
            styles, `MODEL:STYLE=0.7,STYLE=0.3` a blend, `any:painting.jpg` any painting, and
            `any:folder` what the paintings in a folder have in common.
        device: `cuda`, `mps`, `cpu` ...; `auto` takes the first available of these.
        dtype: `fp32`, `fp16` or `bf16`; `auto` takes the device's fastest. `fp32` is exact on
            CUDA, without TF32. Exported models have their own dtype.

    Raises:
        FileNotFoundError: there is no such model.
        ImportError: it is an ONNX model, and onnxruntime is not installed.
        UserError: the file is damaged or not a model, or there is no such device or dtype.
    """
    return open_stylizer(find_model(name_or_path), device, dtype)


def open_stylizer(ref: ModelRef, device: str = "auto", dtype: str = "auto") -> Stylizer:
    """Return the `Stylizer` of a model that was found; otherwise as `load`."""
    check_dtype(dtype)
    if ref.is_exported:
        exported = open_exported(ref.path, device, dtype, ref.choice)
        if exported.info.network in UPSCALERS:
            raise for_super_resolution(ref.path)
        return Stylizer(exported, exported.info, exported.device, torch.float32)
    return stylizer_of(open_model(ref), device, dtype)


def stylizer_of(model: Model, device: str = "auto", dtype: str = "auto") -> Stylizer:
    """Return the `Stylizer` of a model that was read, in the style that is chosen.

    Raises:
        UserError: it has several styles and none is chosen, it enlarges, or there is no such
            device or dtype.
    """
    chosen_device = pick_device(device)
    return Stylizer(
        model.stylizer,
        model.info,
        chosen_device,
        inference_dtype(dtype, chosen_device),
        model.chosen,
    )


def open_several(
    refs: Sequence[ModelRef], device: str = "auto", dtype: str = "auto"
) -> dict[str, Stylizer]:
    """Return the `Stylizer`s of models by output folder.

    The folder's name is the model's title, or where titles repeat, that of the run or the file.

    Raises:
        UserError: as `load`, or two models have the same name.
    """
    loaded = [open_stylizer(ref, device, dtype) for ref in refs]
    titles = [stylizer.info.title for stylizer in loaded]
    stylizers: dict[str, Stylizer] = {}
    for ref, stylizer, title in zip(refs, loaded, titles, strict=True):
        if not title or titles.count(title) > 1:
            title = ref.name
        # A title may come from a stranger's file: it must not lead out of the output folder.
        name = re.sub(r"[^\w .,=+-]", "_", title).strip(". ") or "model"
        if name in stylizers:
            raise UserError(f"two models are named {name!r}: run them separately")
        stylizers[name] = stylizer
    return stylizers


def blend(content: Tensor, stylized: Tensor, look: Look) -> Tensor:
    """Return the stylized picture blended over the content, both (N, 3, H, W) in [0, 1].

    Args:
        content: the picture.
        stylized: the network's result.
        look: of which the strength, in [0, 1], is how much of the result shows. Colours are kept
            by taking only the luminance from the result (Gatys et al. 2016, "Preserving color in
            neural artistic style transfer", section 2.2).
    """
    if look.keep_colors:
        stylized = (content + luminance(stylized - content)).clamp(0, 1)
    if look.mask is not None:
        return torch.lerp(content, stylized, look.strength * look.mask.to(content))
    return stylized if look.strength == 1 else torch.lerp(content, stylized, look.strength)


def _to_mask(mask: Tensor | Image.Image, height: int, width: int) -> Tensor:
    """Return a mask as (1, 1, height, width) in [0, 1]; a PIL picture is stretched to that size."""
    if isinstance(mask, Image.Image):
        return stretch(mask_of(mask), height, width)
    if not isinstance(mask, Tensor):
        raise TypeError(f"expected a mask as a tensor or a PIL picture, not {type(mask)}")
    if mask.shape != (1, 1, height, width):
        raise ValueError(
            f"expected a mask of shape (1, 1, {height}, {width}), not {tuple(mask.shape)}"
        )
    return mask
