"""The form that `POST /stylize` takes."""

from typing import Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
"""The suffix of each `format`."""


class StylizeForm(BaseModel):
    """How to stylize a picture; the defaults are those of `fst stylize`."""

    model_config = ConfigDict(extra="forbid")

    picture: UploadFile = Field(description="The picture, in any format that fst reads.")
    model: str = Field(description="One of the names that /models lists.")
    style: str = Field(
        "", description="For models with several styles: the name of one, or a blend: a=0.7,b=0.3."
    )
    painting: UploadFile | None = Field(
        None, description="A picture of a painting, instead of style, if the model takes them."
    )
    strength: float = Field(
        1.0, description="1 is the full style, 0 the picture; models that take paintings go to 1.5."
    )
    strokes: float | None = Field(
        None, description="Size of strokes, 0.25 to 16; by default larger in large pictures."
    )
    keep_colors: bool = Field(False, description="Keep the picture's colours.")
    format: Literal["jpeg", "png", "webp"] = Field("jpeg", description="Format of the result.")
    quality: int = Field(95, description="Of JPEG and WebP, 1 to 100.")
