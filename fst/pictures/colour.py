"""Colours: from what a picture or a video declares to 8-bit sRGB.

`colours_of_picture` and `colours_of_codes` read a declaration; `picture_to_srgb` and
`values_to_srgb` apply it, to a picture and to arrays such as video frames. docs/guides/colours.md
has a table of what is read.

HDR is shown as SDR. White is the reference white of ITU-R BT.2408, 203 cd/m2, which is a signal of
58% in PQ and of 75% in HLG. Up to 82% of it nothing changes; what is brighter is compressed by
`_compress_highlights`, so that white comes out as 245 of 255 and a peak of 1000 cd/m2 as 254.
"""

import contextlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageCms

# x and y of red, green, blue and white
_D65 = 0.3127, 0.3290
_C = 0.310, 0.316
_BT709 = 0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65
_BT2020 = 0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65
_ADOBE_RGB = 0.640, 0.330, 0.210, 0.710, 0.150, 0.060, *_D65
_PRIMARIES = {
    1: _BT709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),  # NTSC of 1953
    # Those of SD video, PAL and NTSC, are within 10 of 255 of BT.709, and programs write their
    # codes into files that are sRGB.
    5: _BT709,
    6: _BT709,
    7: _BT709,
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),  # film
    9: _BT2020,
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3),  # XYZ
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),  # DCI-P3
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),  # Display P3
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),  # EBU Tech. 3213
}
"""By code of ITU-T H.273."""

_SRGB, _PQ, _DCI, _HLG = 13, 16, 17, 18
_LIKE_SRGB = 1, 5, 6, 7, 11, 12, 14, 15, _SRGB
"""The curves of SDR video are those of cameras; screens show its values as they show sRGB."""
_EXPONENTS = {4: 2.2, 8: 1.0}
_WHITE = 203.0
"""cd/m2 of reference white in HDR."""
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
"""The screen, in cd/m2, for which HLG is shown, and the exponent of its OOTF."""
_KNEE = 0.82
"""Brighter than this part of white, HDR is compressed."""
_ADAPTATION = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""XYZ to the responses of the eye's cones, by Bradford, in which white is adapted."""
_AT_ONCE = 1 << 16
"""Pixels that are converted at once: their intermediate results stay in the cache."""


@dataclass(frozen=True)
class Colours:
    """What the values of a picture mean; by default they are sRGB."""

    primaries: tuple[float, ...] = _BT709
    """x and y of red, green, blue and white."""
    transfer: int = _SRGB
    """Code of ITU-T H.273 for the curve from values to light."""
    exponent: float | None = None
    """The curve is this power instead."""
    narrow: bool = False
    """Black is 16 and white is 235 of 255."""
    profile: bytes = b""
    """An ICC profile, which replaces all the others."""

    @property
    def hdr(self) -> bool:
        """Whether there is light brighter than white."""
        return not self.profile and self.exponent is None and self.transfer in (_PQ, _HLG)


SRGB = Colours()


def colours_of_codes(primaries: int, transfer: int, narrow: bool = False) -> Colours | None:
    """Return what the codes of ITU-T H.273 mean; None if neither code is known.

    An unknown code beside a known one counts as that of sRGB.
    """
    known = transfer in (*_LIKE_SRGB, *_EXPONENTS, _PQ, _DCI, _HLG)
    if primaries not in _PRIMARIES and not known:
        return None
    return Colours(
        _PRIMARIES.get(primaries, _BT709),
        _SRGB if transfer in _LIKE_SRGB or not known else transfer,
        _EXPONENTS.get(transfer),
        narrow,
    )


def colours_of_picture(picture: Image.Image, file: Path | io.BytesIO | None = None) -> Colours:
    """Return what a picture declares; sRGB if nothing, or nothing that makes sense.

    Args:
        picture: as Pillow opened it, after `load`.
        file: what it was opened from, for what Pillow does not keep: the codes of PNG and AVIF. By
            default the file whose name Pillow keeps, if any.
    """
    codes = _colours_of_file(picture, file)
    profile = picture.info.get("icc_profile") or b""
    if codes and (codes.hdr or picture.format == "PNG" or not profile):
        return codes
    if profile:
        return _colours_of_profile(profile) or Colours(profile=profile)
    if "srgb" in picture.info:
        return SRGB
    if "gamma" in picture.info or "chromaticity" in picture.info:
        return _colours_of_chunks(picture)
    return _colours_of_exif(picture) or SRGB


def picture_to_srgb(picture: Image.Image, colours: Colours) -> Image.Image:
    """Return a picture of mode RGB, CMYK or L, in these colours, as 8-bit sRGB, mode RGB.

    What already is sRGB is not copied.
    """
    if colours.profile:
        picture = _by_profile(picture, colours.profile)
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    if colours == SRGB:
        return picture
    result = Image.new("RGB", picture.size, None)  # not filled
    rows = max(1, _AT_ONCE // picture.width)
    for top in range(0, picture.height, rows):
        box = 0, top, picture.width, min(top + rows, picture.height)
        strip = values_to_srgb(np.asarray(picture.crop(box)), colours)
        result.paste(Image.fromarray(strip), box)
    return result


def values_to_srgb(values: np.ndarray, colours: Colours) -> np.ndarray:
    """Return RGB values (..., 3), uint8 or uint16 of full range, in these colours, as uint8 sRGB.

    ICC profiles are for pictures only.
    """
    if colours == SRGB and values.dtype == np.uint8:
        return values
    result = np.empty(values.shape, np.uint8)
    given, converted = values.reshape(-1, 3), result.reshape(-1, 3)
    light_of, matrix = _light_of(colours, values.dtype.str), _to_bt709(colours.primaries)
    luminance = _to_xyz(colours.primaries)[1]
    for start in range(0, len(given), _AT_ONCE):
        light = light_of.take(given[start : start + _AT_ONCE].T)
        if colours.transfer == _HLG:  # the screen's OOTF: scene to screen
            light *= (luminance @ light) ** np.float32(_HLG_GAMMA - 1) * (_HLG_PEAK / _WHITE)
        light = matrix @ light
        if colours.hdr:
            _compress_highlights(light)
        np.clip(light, 0, 1, out=light)
        light *= 65535
        light += 0.5
        converted[start : start + _AT_ONCE] = _values_of_light().take(light.astype(np.uint16)).T
    return result


def _compress_highlights(light: np.ndarray) -> None:
    """Bring light (3, N), in which white is 1, below 1, in place, without a change of hue.

    The largest of red, green and blue follows Reinhard's curve from the knee on, where its slope
    is 1; the others keep their ratio to it.
    """
    largest = light.max(axis=0)
    (bright,) = np.nonzero(largest > _KNEE)
    above = largest[bright]
    light[:, bright] *= (1 - (1 - _KNEE) ** 2 / (above + 1 - 2 * _KNEE)) / above


@lru_cache(maxsize=8)
def _light_of(colours: Colours, dtype: str) -> np.ndarray:
    """Return the light of each value of the type, white being 1; of HLG, that of the scene."""
    most = np.iinfo(dtype).max
    values = np.arange(most + 1) / most
    if colours.narrow:
        values = ((values * 255 - 16) / 219).clip(0, 1)
    if colours.exponent is not None:
        light = values**colours.exponent
    elif colours.transfer == _PQ:  # SMPTE ST 2084
        root = values ** (32 / 2523)
        ratio = (root - 3424 / 4096).clip(0) / (2413 / 128 - 2392 / 128 * root)
        light = ratio ** (16384 / 2610) * (10_000 / _WHITE)
    elif colours.transfer == _HLG:  # ITU-R BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    elif colours.transfer == _DCI:  # SMPTE ST 428-1
        light = values**2.6 * (52.37 / 48)
    else:
        light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@lru_cache(maxsize=1)
def _values_of_light() -> np.ndarray:
    """Return the uint8 values of sRGB for light in steps of 1/65535."""
    light = np.arange(65536) / 65535
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (values * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=8)
def _to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    """Return the matrix from light of these primaries to XYZ; (1, 1, 1) is white, of Y = 1.

    Raises:
        ValueError: these are not primaries.
    """
    x, y = np.array(primaries, np.float64).reshape(4, 2).T
    if y[3] == 0:
        raise ValueError("white must have a luminance")
    columns = np.stack([x, y, 1 - x - y])
    amounts = np.linalg.solve(columns[:, :3], columns[:, 3] / y[3])
    if not (amounts > 0).all():
        raise ValueError("white must lie among the primaries")
    return (columns[:, :3] * amounts).astype(np.float32)


@lru_cache(maxsize=8)
def _to_bt709(primaries: tuple[float, ...]) -> np.ndarray:
    """Return the matrix from light of these primaries to that of BT.709's; white stays white.

    Raises:
        ValueError: these are not primaries.
    """
    ours = _to_xyz(_BT709)
    theirs = _to_xyz(primaries)
    white = _ADAPTATION @ theirs.sum(1)
    if not (white > 0.01).all():
        raise ValueError("white must be a colour that eyes see")
    cones = _ADAPTATION @ ours.sum(1) / white
    adapted = np.linalg.inv(_ADAPTATION) * cones @ _ADAPTATION @ theirs
    return np.asarray(np.linalg.inv(ours) @ adapted, np.float32)


def _by_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    # A broken profile, or one for another kind of picture, is no reason to refuse the picture.
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space == "GRAY" and picture.mode == "RGB" and _is_grey(picture):
            picture = picture.convert("L")
        elif space == "RGB" and picture.mode == "L":
            picture = picture.convert("RGB")
        return (
            ImageCms.profileToProfile(
                picture, opened, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            or picture
        )
    return picture


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = picture.split()
    return not any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def _colours_of_profile(profile: bytes) -> Colours | None:
    """Return what an HDR profile's tag `cicp` says: its tables end at some white or other."""
    with contextlib.suppress(struct.error):  # it ends early
        (count,) = struct.unpack_from(">I", profile, 128)
        for tag in range(count):
            name, start = struct.unpack_from(">4sI", profile, 132 + 12 * tag)
            if name == b"cicp":
                primaries, transfer, _, full = struct.unpack_from("4B", profile, start + 8)
                codes = colours_of_codes(primaries, transfer, narrow=not full)
                return codes if codes and codes.hdr else None
    return None


def _colours_of_chunks(picture: Image.Image) -> Colours:
    """Return what PNG's chunks gAMA and cHRM say."""
    gamma, points = picture.info.get("gamma", 0), picture.info.get("chromaticity", ())
    primaries = _BT709
    with contextlib.suppress(ValueError):
        given = (*points[2:], *points[:2])
        _to_bt709(given)  # raises if these are no primaries
        # Rounded, or nearly sRGB's: the same.
        primaries = _BT709 if np.allclose(given, _BT709, atol=2e-3) else given
    if not 0.1 <= gamma <= 10 or (primaries == _BT709 and abs(gamma - 1 / 2.2) < 1e-3):
        return Colours(primaries)  # 1/2.2 is how programs say sRGB in this chunk
    return Colours(primaries, exponent=1 / gamma)


def _colours_of_exif(picture: Image.Image) -> Colours | None:
    """Return Adobe RGB if the camera says so, by the rules of DCF."""
    with contextlib.suppress(Exception):  # Pillow raises whatever damaged metadata trip it over
        exif = picture.getexif()
        space = exif.get_ifd(0x8769).get(0xA001)
        index = str(exif.get_ifd(0xA005).get(1))
        # 2 is not in the standard, but in some cameras' files.
        if space == 2 or (space == 0xFFFF and "R03" in index):
            return Colours(_ADOBE_RGB, exponent=563 / 256)
    return None


def _colours_of_file(picture: Image.Image, file: Path | io.BytesIO | None) -> Colours | None:
    """Return what the codes of ITU-T H.273 in a PNG, AVIF or HEIC file say."""
    if nclx := picture.info.get("nclx_profile"):
        return colours_of_codes(nclx["color_primaries"], nclx["transfer_characteristics"])
    reader = {"PNG": _codes_of_png, "AVIF": _codes_of_avif}.get(picture.format or "")
    if file is None and (name := getattr(picture, "filename", "")):
        file = Path(name)
    if reader is None or file is None:
        return None
    # Whether the file is damaged, Pillow has judged; it may also be gone since.
    with contextlib.suppress(OSError, struct.error, LookupError, ValueError):
        if isinstance(file, Path):
            with file.open("rb") as opened:
                return reader(opened)
        file.seek(0)
        return reader(file)
    return None


def _codes_of_png(file: BinaryIO) -> Colours | None:
    """Return what the chunk cICP says, which comes before the pixels."""
    file.seek(8)
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"cICP" and length == 4:
            primaries, transfer, _, full = file.read(4)
            return colours_of_codes(primaries, transfer, narrow=not full)
        if kind == b"IDAT":
            return None
        file.seek(length + 4, io.SEEK_CUR)


def _codes_of_avif(file: BinaryIO) -> Colours | None:
    """Return what the box `colr` of the file's main picture says; gain maps have their own."""
    meta = dict(_boxes(dict(_boxes(file.read()))[b"meta"][4:]))
    wide = meta[b"pitm"][0] > 0
    main = int.from_bytes(meta[b"pitm"][4 : 8 if wide else 6])
    described = dict(_boxes(meta[b"iprp"]))
    properties = list(_boxes(described[b"ipco"]))
    for number in _properties_of(main, described[b"ipma"]):
        kind, content = properties[number - 1]
        if kind == b"colr" and content[:4] == b"nclx":
            return colours_of_codes(*struct.unpack_from(">HH", content, 4))
    return None


def _properties_of(item: int, association: bytes) -> list[int]:
    """Return the numbers, from 1, of an item's properties, by the box `ipma`."""
    version, wide = association[0] > 0, association[3] & 1
    form, size = (">IB", 5) if version else (">HB", 3)
    (count,) = struct.unpack_from(">I", association, 4)
    at = 8
    for _ in range(count):
        which, properties = struct.unpack_from(form, association, at)
        numbers = struct.unpack_from(f">{properties}{'H' if wide else 'B'}", association, at + size)
        if which == item:
            return [number & (0x7FFF if wide else 0x7F) for number in numbers]
        at += size + properties * (2 if wide else 1)
    return []


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes of an ISO base media file, or of those in a box."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = at + size if size else len(data)
        if end < at + head:
            return
        yield kind, data[at + head : end]
        at = end
