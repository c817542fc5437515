"""Pictures in and out: any file to sRGB in [0, 1], and back.

Tensors are RGB, (1, 3, H, W), float in [0, 1], unless it is said otherwise.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from fst.atomic import replacing
from fst.errors import UserError

with contextlib.suppress(ImportError):  # an extra
    import pillow_heif

    pillow_heif.register_heif_opener()

PICTURE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""Files that are taken for pictures where a folder is given."""
_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": "4:4:4"},
    ".jpeg": {"quality": 95, "subsampling": "4:4:4"},
    ".png": {},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
    ".webp": {"quality": 95},
}
_EXIF_IFD = 0x8769
_KEPT_EXIF = {
    "ImageDescription": 0x010E,
    "DateTime": 0x0132,
    "Artist": 0x013B,
    "Copyright": 0x8298,
}
_KEPT_EXIF_IFD = {
    "DateTimeOriginal": 0x9003,
    "DateTimeDigitized": 0x9004,
    "OffsetTime": 0x9010,
    "OffsetTimeOriginal": 0x9011,
    "OffsetTimeDigitized": 0x9012,
}


class UnreadableImageError(UserError):
    """A file that holds no picture, or a damaged one."""


@dataclass
class Picture:
    """A picture as a file holds it: what is seen, how transparent it is, and who took it when."""

    rgb: Tensor
    """uint8 (1, 3, H, W), sRGB, laid over white."""
    alpha: Tensor | None = None
    """uint8 (1, 1, H, W), 255 where it is opaque."""
    exif: bytes = b""
    """The EXIF tags that are kept: description, dates, artist, copyright; not the place."""


def files_below(folder: Path, leave_out: Sequence[Path] = ()) -> list[Path]:
    """Return all files in a folder and its folders, sorted, but for hidden ones.

    Links to folders are followed, each folder is entered once, and those of `leave_out` never.
    """
    entered = {path.resolve() for path in leave_out}
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.is_file() or file.is_symlink())


def count_pixels(path: Path) -> int:
    """Return how many pixels a picture file says it has, without decoding it; 0 if it can't be."""
    with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
        if path.is_file():
            with Image.open(path) as picture:
                return picture.width * picture.height
    return 0


def is_heic(path: Path) -> bool:
    """Say whether a file begins as HEIF with HEVC inside (ISO 23008-12, section 10.2)."""
    start = b""
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:] in (b"heic", b"heix", b"heim", b"heis", b"mif1")


def open_rgb(source: str | Path | bytes) -> Image.Image:
    """Decode a picture, from a file or from its bytes, to 8-bit sRGB.

    The EXIF orientation and the ICC profile are applied, transparency is laid over white, 16 bits
    are scaled to 8, and of an animation the first frame is taken.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it can't be decoded; the message says why.
    """
    return _over_white(*_decode(source)[:2])


def read_image(path: str | Path) -> Tensor:
    """Return a picture file as (1, 3, H, W), float32 in [0, 1]; see `open_rgb`."""
    return to_bytes_tensor(open_rgb(path))[None].float() / 255


def read_picture(path: str | Path, size_px: int | None = None) -> Picture:
    """Return a picture file with its transparency and some metadata; see `open_rgb`.

    Args:
        path: the file.
        size_px: scale the shorter side to this; None keeps the size.
    """
    colours, transparency, exif = _decode(path)
    if size_px is not None:
        scale = size_px / min(colours.size)
        size = (max(1, round(colours.width * scale)), max(1, round(colours.height * scale)))
        colours = colours.resize(size, Image.Resampling.BICUBIC)
        transparency = transparency and transparency.resize(size, Image.Resampling.BICUBIC)
    rgb = to_bytes_tensor(_over_white(colours, transparency))[None]
    if transparency is None:
        return Picture(rgb, exif=exif)
    return Picture(rgb, torch.from_numpy(np.array(transparency))[None, None], exif)


def to_bytes_tensor(picture: Image.Image) -> Tensor:
    """Return an RGB picture as (3, H, W), uint8, laid out as it was."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def to_unit_range(images: Tensor) -> Tensor:
    """Return (N, 3, H, W), uint8 or float in [0, 1], as float32 in [0, 1].

    They are laid out NHWC, as convolutions run fastest.
    """
    scaled = images.float() if images.is_floating_point() else images.float() / 255
    return scaled.contiguous(memory_format=torch.channels_last)


def write_image(image: Tensor, path: str | Path) -> None:
    """Write (1, 3, H, W) in [0, 1] as the format that the suffix names, whole or not at all.

    Raises:
        UserError: an unknown suffix, or a size that the format can't hold.
    """
    pixels = (image.detach().float().clamp(0, 1) * 255).round().byte()
    write_picture(Picture(pixels.cpu()), path)


def write_picture(picture: Picture, path: str | Path, quality: int = 95) -> None:
    """Write a picture as the format that the suffix names, whole or not at all.

    JPEG holds no transparency: there the picture stays as it lies over white.

    Args:
        picture: the picture.
        path: the file to write or replace.
        quality: 1 to 100, of JPEG and WebP. JPEG keeps the full resolution of colours from 90.

    Raises:
        UserError: an unknown suffix, or a size that the format can't hold.
    """
    path = Path(path)
    options = dict(_WRITE_OPTIONS[writable_suffix(path)])
    if "quality" in options:
        options["quality"] = quality
    if "subsampling" in options and quality < 90:
        options["subsampling"] = "4:2:0"
    if picture.exif:
        options["exif"] = picture.exif
    pixels = picture.rgb[0].permute(1, 2, 0)
    if picture.alpha is not None and path.suffix.lower() not in (".jpg", ".jpeg"):
        pixels = torch.cat([pixels, picture.alpha[0].permute(1, 2, 0)], dim=2)
    with replacing(path) as temporary:
        try:
            encoded = Image.fromarray(pixels.contiguous().numpy())
            encoded.save(temporary, **options)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the format
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise UserError(f"can't write {path} ({size} pixels): {error}") from error


def writable_suffix(path: Path) -> str:
    """Return the path's suffix in lower case; raise UserError if no such file can be written."""
    suffix = path.suffix.lower()
    if suffix not in _WRITE_OPTIONS:
        raise UserError(
            f"can't write {path}: unknown suffix {suffix!r}; "
            f"take one of {', '.join(_WRITE_OPTIONS)}"
        )
    return suffix


def resize(image: Tensor, size_px: int) -> Tensor:
    """Scale so that the shorter side is `size_px`, antialiased."""
    height, width = image.shape[-2:]
    scale = size_px / min(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


def _decode(source: str | Path | bytes) -> tuple[Image.Image, Image.Image | None, bytes]:
    """Return a picture as 8-bit sRGB, its transparency if it has any, and the EXIF that is kept."""
    name = "picture" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        file: io.BytesIO | Path = io.BytesIO(source)
    else:
        file = Path(source)
        if file.is_dir():
            raise UnreadableImageError(f"{name} is a folder and holds no pictures")
        if file.exists() and not file.is_file():  # reading a pipe would wait without end
            raise UnreadableImageError(f"{name} is no regular file")
    try:
        # Pillow warns of odd metadata and of large sizes; what is too large for it, it refuses.
        with warnings.catch_warnings(action="ignore"), Image.open(file) as picture:
            picture.load()
            exif = _kept_exif(picture)
            return *_to_srgb(ImageOps.exif_transpose(picture)), exif
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture {name}") from None
    except UnidentifiedImageError:
        if isinstance(file, Path) and is_heic(file):
            raise UnreadableImageError(
                f"{name} is HEIC: pip install 'fst-style-transfer[heic]' to read it"
            ) from None
        raise UnreadableImageError(f"{name} is no picture of a known format") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{name} is too large to decode: {error}") from error
    except Exception as error:
        # Decoders raise OSError, SyntaxError, struct.error, IndexError ... on damaged files
        raise UnreadableImageError(f"{name} can't be decoded: {error}") from error


def _kept_exif(picture: Image.Image) -> bytes:
    kept = Image.Exif()
    # Metadata that can't be read are no reason to refuse the picture.
    with contextlib.suppress(Exception):
        given = picture.getexif()
        kept.update({tag: given[tag] for tag in _KEPT_EXIF.values() if tag in given})
        details = given.get_ifd(_EXIF_IFD)
        dates = {tag: details[tag] for tag in _KEPT_EXIF_IFD.values() if tag in details}
        if dates:
            kept[_EXIF_IFD] = dates
        return kept.tobytes() if len(kept) else b""
    return b""


def _to_srgb(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the picture as RGB, whatever it is stored as, and its transparency if it has any."""
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith(("I", "F")):
        picture = _to_8_bit(picture)
    transparency = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        transparency = picture.getchannel("A")
        picture = picture.convert("RGB")
    elif picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    if profile:
        # A broken profile is no reason to refuse the picture.
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            transformed = ImageCms.profileToProfile(
                picture,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            picture = transformed or picture
    return picture.convert("RGB"), transparency


def _over_white(picture: Image.Image, transparency: Image.Image | None) -> Image.Image:
    if transparency is None:
        return picture
    white = Image.new("RGB", picture.size, "white")
    return Image.composite(picture, white, transparency)


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit and floating-point grey to 8 bits, where Pillow would cut it off at 255."""
    values = np.asarray(picture).astype(np.float64)
    if picture.mode == "F":
        full = 1.0 if values.max(initial=0) <= 1 else 255.0
    else:
        full = 255.0 if values.max(initial=0) <= 255 and picture.mode == "I" else 65535.0
    return Image.fromarray((values / full * 255).clip(0, 255).round().astype(np.uint8))
