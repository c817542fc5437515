"""Colours: what a file declares to 8-bit sRGB."""

import contextlib
import io

from PIL import Image, ImageCms


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a picture of mode RGB, CMYK or L as 8-bit sRGB, by its ICC profile if it has one."""
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
    return picture if picture.mode == "RGB" else picture.convert("RGB")
