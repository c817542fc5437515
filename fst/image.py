"""Pictures in and out: any file to sRGB in [0, 1], and back.

Tensors are RGB, (1, 3, H, W), float in [0, 1], unless it is said otherwise.
"""

import contextlib
import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from fst.atomic import replacing

_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": "4:4:4"},
    ".jpeg": {"quality": 95, "subsampling": "4:4:4"},
    ".png": {},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
    ".webp": {"quality": 95},
}


class UnreadableImageError(ValueError):
    """A file that holds no picture, or a damaged one."""


def open_rgb(source: str | Path | bytes) -> Image.Image:
    """Decode a picture, from a file or from its bytes, to 8-bit sRGB.

    The EXIF orientation and the ICC profile are applied, transparency is laid over white, 16 bits
    are scaled to 8, and of an animation the first frame is taken.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it can't be decoded; the message says why.
    """
    name = "picture" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        file: io.BytesIO | Path = io.BytesIO(source)
    else:
        file = Path(source)
        if file.is_dir():
            raise UnreadableImageError(f"{name} is a folder, not a picture")
    try:
        # Pillow warns of odd metadata and of large sizes; what is too large for it, it refuses.
        with warnings.catch_warnings(action="ignore"), Image.open(file) as picture:
            picture.load()
            return _to_srgb(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture {name}") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(f"{name} is no picture of a known format") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{name} is too large to decode: {error}") from error
    except Exception as error:
        # Decoders raise OSError, SyntaxError, struct.error, IndexError ... on damaged files
        raise UnreadableImageError(f"{name} can't be decoded: {error}") from error


def read_image(path: str | Path) -> Tensor:
    """Return a picture file as (1, 3, H, W), float32 in [0, 1]; see `open_rgb`."""
    return to_bytes_tensor(open_rgb(path))[None].float() / 255


def to_bytes_tensor(picture: Image.Image) -> Tensor:
    """Return an RGB picture as (3, H, W), uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def write_image(image: Tensor, path: str | Path) -> None:
    """Write (1, 3, H, W) in [0, 1] as the format that the suffix names, whole or not at all.

    Raises:
        ValueError: an unknown suffix.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITE_OPTIONS:
        raise ValueError(
            f"can't write {path}: unknown suffix {suffix!r}; "
            f"take one of {', '.join(_WRITE_OPTIONS)}"
        )
    pixels = (image[0].detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    with replacing(path) as temporary:
        Image.fromarray(pixels.cpu().numpy()).save(temporary, **_WRITE_OPTIONS[suffix])


def resize(image: Tensor, size_px: int) -> Tensor:
    """Scale so that the shorter side is `size_px`, antialiased."""
    height, width = image.shape[-2:]
    scale = size_px / min(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


def contact_sheet(style: Tensor, contents: Tensor, stylized: Tensor) -> Tensor:
    """Return one picture: the style at the left, each content with its result below it.

    Args:
        style: (1, 3, H, W).
        contents: (N, 3, S, S).
        stylized: (N, 3, S, S).

    Returns:
        (1, 3, H', W'), white between the pictures, at most four pairs in a row.
    """
    side, gap, columns = contents.shape[-1], 4, min(4, len(contents))
    style_height = side * 2 + gap
    style_width = max(1, round(style_height * style.shape[-1] / style.shape[-2]))
    scaled = F.interpolate(style, [style_height, style_width], mode="bicubic", antialias=True)
    bands = math.ceil(len(contents) / columns)
    height = bands * (2 * side + 3 * gap) + gap
    sheet = style.new_ones(1, 3, height, style_width + columns * (side + gap) + 2 * gap)
    sheet[..., gap : gap + style_height, gap : gap + style_width] = scaled.clamp(0, 1)
    for i, (content, result) in enumerate(zip(contents, stylized, strict=True)):
        top = gap + (i // columns) * (2 * side + 3 * gap)
        left = style_width + 2 * gap + (i % columns) * (side + gap)
        sheet[0, :, top : top + side, left : left + side] = content
        below = top + side + gap
        sheet[0, :, below : below + side, left : left + side] = result
    return sheet


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB, whatever it is stored as."""
    if picture.mode.startswith(("I", "F")):
        picture = _to_8_bit(picture)
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        # A broken profile is no reason to refuse the picture.
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            transformed = ImageCms.profileToProfile(
                picture,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            picture = transformed or picture
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        background = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(background, picture)
    return picture.convert("RGB")


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit and floating-point grey to 8 bits, where Pillow would cut it off at 255."""
    values = np.asarray(picture).astype(np.float64)
    if picture.mode == "F":
        full = 1.0 if values.max(initial=0) <= 1 else 255.0
    else:
        full = 255.0 if values.max(initial=0) <= 255 and picture.mode == "I" else 65535.0
    return Image.fromarray((values / full * 255).clip(0, 255).round().astype(np.uint8))
