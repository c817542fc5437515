"""The forms in which pictures are passed in Python: tensors, PIL pictures and numpy frames."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fst.pictures.colour import colours_of_picture
from fst.pictures.image import split_srgb
from fst.pictures.transparency import alpha_of, continue_colours

Form = TypeVar("Form", Tensor, Image.Image, np.ndarray)


def to_images(picture: Tensor | Image.Image | np.ndarray) -> Tensor:
    """Return the picture as (N, 3, H, W), float in [0, 1] or uint8, without a copy if possible."""
    if isinstance(picture, str | Path):
        raise TypeError(
            f"expected a picture, not the path {str(picture)!r}: pass PIL.Image.open(path) or "
            "fst.read_image(path)"
        )
    if not isinstance(picture, Tensor | Image.Image | np.ndarray):
        raise TypeError(f"expected a tensor, a PIL picture or a frame, not {type(picture)}")
    if isinstance(picture, Image.Image):
        picture = np.array(continue_colours(*split_srgb(picture, colours_of_picture(picture))))
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim not in (3, 4) or picture.shape[-1] != 3:
            raise ValueError(
                f"expected uint8 frames (H, W, 3) or (N, H, W, 3), not {picture.dtype} of shape "
                f"{picture.shape}"
            )
        frames = picture if picture.ndim == 4 else picture[None]
        images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    else:
        images = picture
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"expected a picture (N, 3, H, W), not one of shape {tuple(images.shape)}")
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise ValueError(f"expected floats in [0, 1] or uint8, not {images.dtype}")
    return images


def from_unit_range(result: Tensor, like: Tensor) -> Tensor:
    """Return floats in [0, 1] in the dtype and on the device of `like`."""
    if like.dtype == torch.uint8:
        result = result.mul(255).round_().clamp_(0, 255)
    return result.to(like.device, like.dtype)


def in_form_of(result: Tensor, picture: Form) -> Form:
    """Return (N, 3, H, W), of any size, in the form in which the picture was passed."""
    if isinstance(picture, Tensor):  # in its layout, as a copy of a large picture costs memory
        interleaved = not picture.is_contiguous() and picture.is_contiguous(
            memory_format=torch.channels_last
        )
        layout = torch.channels_last if interleaved else torch.contiguous_format
        return result.contiguous(memory_format=layout)
    frames = result.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    if isinstance(picture, Image.Image):
        of_pixels = Image.fromarray(frames[0])
        if (alpha := alpha_of(picture)) is not None:
            of_pixels.putalpha(alpha.resize(of_pixels.size, Image.Resampling.BICUBIC))
        return of_pixels
    return frames if picture.ndim == 4 else frames[0]
