"""The EXIF metadata that are kept: description, dates, artist, copyright; not the place."""

import contextlib

from PIL import Image

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_KEPT = (0x010E, 0x0132, 0x013B, 0x8298)
"""ImageDescription, DateTime, Artist, Copyright."""
_KEPT_DETAILS = (0x9003, 0x9004, 0x9010, 0x9011, 0x9012)
"""DateTimeOriginal, DateTimeDigitized, and the three OffsetTimes."""
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def exif_to_keep(picture: Image.Image) -> tuple[bytes, tuple[str, ...]]:
    """Return the tags that are kept, encoded, and a note if they could not be read."""
    kept = Image.Exif()
    try:
        given = picture.getexif()
        kept.update({tag: given[tag] for tag in _KEPT if tag in given})
        details = given.get_ifd(_EXIF_IFD)
        if dates := {tag: details[tag] for tag in _KEPT_DETAILS if tag in details}:
            kept[_EXIF_IFD] = dates
        return kept.tobytes() if len(kept) else b"", ()
    except Exception:  # Pillow raises whatever damaged metadata trip it over
        return b"", ("its EXIF metadata are damaged and were dropped",)


def turn_upright(picture: Image.Image, original: Image.Image) -> Image.Image:
    """Turn a picture as the EXIF orientation of `original` says, whatever else that holds."""
    with contextlib.suppress(Exception):  # as in `exif_to_keep`: no reason to refuse the picture
        if (method := _TRANSPOSE.get(original.getexif().get(_ORIENTATION, 1))) is not None:
            return picture.transpose(method)
    return picture


def without_details(exif: bytes) -> bytes:
    """Return the tags without those that only the EXIF directory holds, the dates of origin."""
    kept = Image.Exif()
    kept.load(exif)
    if _EXIF_IFD in kept:
        del kept[_EXIF_IFD]
    return kept.tobytes() if len(kept) else b""
