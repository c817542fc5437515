"""Pictures in and out: any file to sRGB in [0, 1], and back.

Tensors are RGB, (1, 3, H, W), float in [0, 1], unless stated otherwise.
"""

import io
import math
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from fst.addresses import refuse_address
from fst.atomic import replacing
from fst.errors import UserError
from fst.pictures.colour import Colours, colours_of_picture, picture_to_srgb
from fst.pictures.depth import is_deep, strips, to_8_bit
from fst.pictures.exif import exif_to_keep, turn_upright, without_details
from fst.pictures.formats import load_picture
from fst.pictures.png import UNREAD
from fst.pictures.raw import CameraRawError
from fst.pictures.transparency import alpha_of, continue_colours, over_white, resize_with_alpha

PICTURE_SUFFIXES = frozenset(
    (
        ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm",
        ".tif", ".tiff", ".webp",
    )
)  # fmt: skip
"""The usual suffixes of pictures; `fst.pictures.formats.is_picture` looks at the content."""
MAX_PIXELS = 178_956_970
"""No picture is scaled to more pixels than this, which is also the most that Pillow decodes."""
_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".avif": {"format": "AVIF"},
    ".jpg": {"format": "JPEG"},
    ".jpeg": {"format": "JPEG"},
    ".png": {"format": "PNG"},
    ".tif": {"format": "TIFF", "compression": "tiff_deflate"},
    ".tiff": {"format": "TIFF", "compression": "tiff_deflate"},
    ".webp": {"format": "WEBP"},
}
_LOSSY = (".avif", ".jpg", ".jpeg", ".webp")


class UnreadableImageError(UserError):
    """A file that is not a picture, or a damaged one."""


class TooLargeImageError(UnreadableImageError):
    """A picture of more pixels than are decoded."""


@dataclass
class Picture:
    """A picture as a file holds it: the pixels, the transparency, and some metadata."""

    rgb: Tensor
    """uint8 (1, 3, H, W), sRGB, not mixed with any ground; see `fst.pictures.transparency`."""
    alpha: Tensor | None = None
    """uint8 (1, 1, H, W), 255 where it is opaque."""
    exif: bytes = b""
    """The EXIF tags that are kept: description, dates, artist, copyright; not the place."""
    animated: bool = False
    """Whether the file has more frames or pages; this is the first."""
    notes: tuple[str, ...] = ()
    """What was lost in reading the file, and what else is to be known of the picture."""

    def replace_pixels(self, rgb: Tensor) -> None:
        """Take other pixels, uint8 (1, 3, H, W) of any size; the transparency is scaled to it."""
        self.rgb = rgb
        if self.alpha is not None and self.alpha.shape[-2:] != rgb.shape[-2:]:
            self.alpha = F.interpolate(self.alpha, rgb.shape[-2:], mode="bicubic", antialias=True)


def files_below(folder: Path, leave_out: Sequence[Path] = ()) -> list[Path]:
    """Return all files in a folder and its folders, sorted, but for hidden ones.

    Links to folders are followed, each folder is entered once, and those of `leave_out` never. What
    cannot be reached is among them, as whoever reads it says why: a link that leads nowhere or to a
    forbidden place, a folder that may not be read.

    Raises:
        OSError: the folder itself cannot be read.
    """
    entered = {path.resolve() for path in leave_out}
    found: list[Path] = []
    closed: list[Path] = []

    def note(error: OSError) -> None:
        if (place := Path(error.filename)) == folder:
            raise error
        closed.append(place)

    for place, folders, names in os.walk(folder, onerror=note, followlinks=True):
        real = Path(place).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted([*closed, *filter(_may_be_file, found)])


def _may_be_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def open_rgb(source: str | Path | bytes) -> Image.Image:
    """Decode a picture, from a file or from its bytes, to 8-bit sRGB.

    The EXIF orientation is applied, declared colours are converted, transparency is composited
    over white, 16 bits are scaled to 8, and of an animation the first frame is taken.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it cannot be decoded; the message says why.
    """
    decoded = decode(source)
    return over_white(decoded.colours, decoded.alpha)


def read_image(source: str | Path | bytes, most_px: int | None = None) -> Tensor:
    """Read a picture of any format as (1, 3, H, W), float32 in [0, 1], sRGB.

    The EXIF orientation is applied, declared colours are converted to sRGB, and transparency is
    composited over white.

    Args:
        source: the file, or its bytes.
        most_px: reduce pictures of more pixels to about this many; None keeps the size.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it cannot be decoded; the message says why.
    """
    picture = open_rgb(source)
    if most_px is not None:
        picture = at_most(picture, most_px)
    return to_bytes_tensor(picture)[None].float() / 255


def at_most(picture: Image.Image, most_px: int) -> Image.Image:
    """Return a picture that is reduced to `most_px` pixels if it has more."""
    scale = math.sqrt(most_px / (picture.width * picture.height))
    if scale >= 1:
        return picture
    width, height = (max(1, int(length * scale)) for length in picture.size)
    # A side of less than one pixel became one.
    size = min(width, max(1, most_px // height)), min(height, max(1, most_px // width))
    return picture.resize(size, Image.Resampling.BICUBIC)


def read_picture(source: str | Path | bytes, size_px: int | None = None) -> Picture:
    """Return a picture file with its transparency and some metadata; see `open_rgb`.

    Args:
        source: the file, or its bytes.
        size_px: scale the shorter side to this many pixels; None keeps the size.

    Raises:
        UserError: scaled, the picture would have more than `MAX_PIXELS`.
    """
    decoded = decode(source)
    colours, alpha = decoded.colours, decoded.alpha
    if size_px is not None:
        try:
            height, width = scaled_size(colours.height, colours.width, size_px)
        except UserError as error:
            raise UserError(f"{_name_of(source)}: {error}") from error
        colours, alpha = resize_with_alpha(colours, alpha, (width, height))
    rgb = to_bytes_tensor(continue_colours(colours, alpha))[None]
    kept = None if alpha is None else torch.from_numpy(np.array(alpha))[None, None]
    return Picture(rgb, kept, decoded.exif, decoded.animated, decoded.notes)


def to_bytes_tensor(picture: Image.Image) -> Tensor:
    """Return an RGB picture as (3, H, W), uint8, in the same memory layout."""
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for rows, strip in strips(picture):
        pixels[rows] = strip
    return torch.from_numpy(pixels).permute(2, 0, 1)


def luminance(image: Tensor) -> Tensor:
    """Return the luminance (N, 1, H, W) of (N, 3, H, W), by the weights of ITU-R BT.601."""
    red, green, blue = image.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def to_unit_range(images: Tensor) -> Tensor:
    """Return (N, 3, H, W), uint8 or float in [0, 1], as float32 in [0, 1].

    The memory layout is NHWC, in which convolutions are fastest.
    """
    scaled = images.float() if images.is_floating_point() else images.float() / 255
    return scaled.contiguous(memory_format=torch.channels_last)


def in_8_bits(images: Tensor) -> Tensor:
    """Return pictures in [0, 1] as 8 bits hold them, still in [0, 1]."""
    return (images.clamp(0, 1) * 255).round() / 255


def write_image(image: Tensor, path: str | Path, quality: int = 95) -> None:
    """Write a picture in the format that the suffix names, atomically.

    Args:
        image: (1, 3, H, W) in [0, 1], sRGB.
        path: the file.
        quality: of JPEG, WebP and AVIF, from 1 to 100.

    Raises:
        UserError: an unknown suffix, a size that the format does not support, or no such quality.
    """
    pixels = (image.detach().float().clamp(0, 1) * 255).round().byte()
    write_picture(Picture(pixels.cpu()), path, quality)


def write_picture(picture: Picture, path: str | Path, quality: int = 95) -> tuple[str, ...]:
    """Write a picture as the format that the suffix names, atomically.

    JPEG has no transparency: there the picture is composited over white.

    Args:
        picture: the picture.
        path: the file.
        quality: of JPEG, WebP and AVIF, from 1 to 100; JPEG keeps the full resolution of colours
            from 90 up.

    Returns:
        Notes on metadata that the format does not support and that were dropped.

    Raises:
        UserError: an unknown suffix, a size that the format does not support, or no such quality.
    """
    path = Path(path)
    suffix = writable_suffix(path)
    with replacing(path) as temporary:
        try:
            return _encode(picture, temporary, suffix, quality)
        except _UnfitError as error:
            raise UserError(f"cannot write {path} {error}") from error


def encode_picture(picture: Picture, suffix: str, quality: int = 95) -> bytes:
    """Return a picture as the file that `write_picture` writes.

    Args:
        picture: the picture.
        suffix: which format, such as `.png`; one that `write_picture` knows.
        quality: as there.

    Raises:
        UserError: a size that the format does not support, or no such quality.
    """
    file = io.BytesIO()
    try:
        _encode(picture, file, suffix, quality)
    except _UnfitError as error:
        raise UserError(f"cannot write a {suffix} {error}") from error
    return file.getvalue()


class _UnfitError(ValueError):
    """A format that does not take a picture; the message says its size and why."""


def _encode(
    picture: Picture, file: Path | io.BytesIO, suffix: str, quality: int
) -> tuple[str, ...]:
    """Encode a picture into a file of its own; return the notes of `write_picture`."""
    if not 1 <= quality <= 100:
        raise UserError(f"quality={quality} must be from 1 to 100")
    options = dict(_WRITE_OPTIONS[suffix])
    if suffix in _LOSSY:
        options["quality"] = quality
    if suffix in (".jpg", ".jpeg"):
        options["subsampling"] = "4:4:4" if quality >= 90 else "4:2:0"
    encoded = _to_pillow(picture, with_alpha=suffix not in (".jpg", ".jpeg"))
    exif = picture.exif
    notes: tuple[str, ...] = ()
    if suffix in (".tif", ".tiff") and (reduced := without_details(exif)) != exif:
        exif, notes = reduced, ("compressed TIFF holds no dates of origin; they were dropped",)
    try:
        if exif:
            try:
                encoded.save(file, exif=exif, **options)
                return notes
            except (ValueError, RuntimeError, TypeError, struct.error):
                notes = (f"{suffix} cannot hold its EXIF metadata; they were dropped",)
                if isinstance(file, io.BytesIO):  # a path is opened anew
                    file.seek(0)
                    file.truncate()
        encoded.save(file, **options)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the format
        raise _UnfitError(f"({encoded.width}x{encoded.height} pixels): {error}") from error
    return notes


def _to_pillow(picture: Picture, with_alpha: bool) -> Image.Image:
    """Return a picture of mode RGBA, or one of mode RGB composited over white."""
    result = Image.fromarray(picture.rgb[0].permute(1, 2, 0).contiguous().numpy())
    if picture.alpha is not None:
        alpha = Image.fromarray(picture.alpha[0, 0].contiguous().numpy())
        if with_alpha:
            result.putalpha(alpha)
        else:
            over_white(result, alpha)
    return result


def writable_suffix(path: Path) -> str:
    """Return the path's suffix in lower case; raise UserError if no such file can be written."""
    suffix = path.suffix.lower()
    if suffix not in _WRITE_OPTIONS:
        raise UserError(
            f"cannot write {path}: unknown suffix {suffix!r}; "
            f"use one of {', '.join(_WRITE_OPTIONS)}"
        )
    return suffix


def resize(image: Tensor, size_px: int) -> Tensor:
    """Scale so that the shorter side has `size_px` pixels, antialiased.

    Raises:
        UserError: the result would have more than `MAX_PIXELS`.
    """
    size = scaled_size(image.shape[-2], image.shape[-1], size_px)
    return F.interpolate(image, list(size), mode="bicubic", antialias=True).clamp(0, 1)


def middle_square(image: Tensor) -> Tensor:
    """Return the largest square in the middle of a picture (1, 3, H, W)."""
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


def enlarge_bicubic(images: Tensor, factor: int) -> Tensor:
    """Return (N, 3, factor H, factor W) for (N, 3, H, W) in [0, 1], by bicubic interpolation."""
    # Antialiased, as that has the usual kernel (a = -0.5); enlarging needs no antialiasing.
    enlarged = F.interpolate(images, scale_factor=factor, mode="bicubic", antialias=True)
    return enlarged.clamp(0, 1)


def scaled_size(height: int, width: int, size_px: int) -> tuple[int, int]:
    """Return the height and width at which the shorter side has `size_px` pixels."""
    scale = size_px / min(height, width)
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    if scaled[0] * scaled[1] > MAX_PIXELS:
        raise UserError(
            f"a picture of {width}x{height} pixels would become {scaled[1]}x{scaled[0]} with a "
            f"shorter side of {size_px}: choose a smaller size"
        )
    return scaled


@dataclass
class Decoded:
    """A picture file's content, and all that `Picture` holds beside it."""

    colours: Image.Image
    """8-bit sRGB, mode RGB."""
    alpha: Image.Image | None
    exif: bytes
    animated: bool
    notes: tuple[str, ...]


def decode(source: str | Path | bytes) -> Decoded:
    """Decode a picture; see `open_rgb`."""
    name = _name_of(source)
    refuse_address(name)
    if isinstance(source, bytes):
        file: io.BytesIO | Path = io.BytesIO(source)
    else:
        file = Path(source)
        try:
            if file.is_dir():
                raise UnreadableImageError(f"{name} is a folder, not a picture")
            if file.exists() and not file.is_file():  # reading a pipe would wait forever
                raise UnreadableImageError(f"{name} is not a regular file")
        except OSError as error:  # as of a link to a forbidden place
            raise UnreadableImageError(f"cannot read {name}: {error.strerror}") from error
    try:
        with load_picture(file) as picture:
            exif, notes = exif_to_keep(picture)
            notes += picture.info.get(UNREAD, ())
            # Photographs with a preview inside are MPO, which Pillow calls animated.
            animated = picture.format != "MPO" and getattr(picture, "is_animated", False)
            colours = colours_of_picture(picture, file)
            rgb, alpha = (
                each and turn_upright(each, picture) for each in split_srgb(picture, colours)
            )
            assert rgb is not None
            return Decoded(rgb, alpha, exif, animated, notes)
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture {name}") from None
    except (ImportError, CameraRawError) as error:
        raise UnreadableImageError(f"{name} {error}") from error
    except UnidentifiedImageError:
        raise UnreadableImageError(f"{name} is not a picture in a known format") from None
    except Image.DecompressionBombError as error:
        raise TooLargeImageError(f"{name} is too large to decode: {error}") from error
    except Exception as error:
        # Decoders raise OSError, SyntaxError, struct.error, IndexError ... on damaged files
        raise UnreadableImageError(f"cannot decode {name}: {error}") from error


def _name_of(source: str | Path | bytes) -> str:
    """Return what messages call a picture."""
    return "the file" if isinstance(source, bytes) else str(source)


def split_srgb(picture: Image.Image, colours: Colours) -> tuple[Image.Image, Image.Image | None]:
    """Return a picture of any mode as 8-bit sRGB of mode RGB, and its alpha if it has any."""
    alpha = alpha_of(picture)
    if is_deep(picture):
        picture = to_8_bit(picture)
    if picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    return picture_to_srgb(picture, colours), alpha
