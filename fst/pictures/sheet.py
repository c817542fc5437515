"""Sheets: many pictures arranged as one, for comparison side by side."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fst.pictures.image import middle_square

GAP_PX = 4
"""White space between the pictures."""
_FONT_PX = (12, 24)
"""Smallest and largest font size; in between it is a fourteenth of a picture's width."""
_SMALLEST_FONT_PX = 9
"""Names that need more than `_LINES` lines get a smaller font, down to this size."""
_LINES = 3
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def collage(pictures: Sequence[Tensor]) -> Tensor:
    """Return one picture that shows the first four of several: their middles, cut square.

    Args:
        pictures: (1, 3, H, W); one is returned as it is.

    Returns:
        (1, 3, H', W').
    """
    if len(pictures) == 1:
        return pictures[0]
    squares = [middle_square(each) for each in pictures[:4]]
    side = min(square.shape[-1] for square in squares)
    tiles = [F.interpolate(s, [side, side], mode="bicubic", antialias=True) for s in squares]
    across = 2 if len(tiles) == 4 else len(tiles)
    rows = [torch.cat(tiles[i : i + across], dim=3) for i in range(0, len(tiles), across)]
    return torch.cat(rows, dim=2).clamp(0, 1)


def contact_sheet(style: Tensor, contents: Tensor, stylized: Tensor) -> Tensor:
    """Return one picture: the style on the left, each content image with its result below it.

    Args:
        style: (1, 3, H, W).
        contents: (N, 3, S, S).
        stylized: (N, 3, S, S).

    Returns:
        (1, 3, H', W'), white between the pictures, at most four pairs in a row.
    """
    side, gap, columns = contents.shape[-1], GAP_PX, min(4, len(contents))
    scale = (2 * side + gap) / max(style.shape[-2:])
    style_height, style_width = (max(1, round(length * scale)) for length in style.shape[-2:])
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


def styles_sheet(
    styles: Mapping[str, Tensor], contents: Tensor, stylized: Sequence[Tensor]
) -> Tensor:
    """Return one picture: a row per style, which begins with the style itself.

    Args:
        styles: (1, 3, H, W) by name, cut to a square from the middle.
        contents: (N, 3, S, S), the first row.
        stylized: for each style (N, 3, S, S).

    Returns:
        (1, 3, H', W'), on the CPU.
    """
    side = contents.shape[-1]
    white = torch.ones(1, 3, side, side)
    rows = [[white, *torch.split(contents, 1)]]
    for style, results in zip(styles.values(), stylized, strict=True):
        square = middle_square(style)
        small = F.interpolate(square, [side, side], mode="bicubic", antialias=True).clamp(0, 1)
        rows.append([small, *torch.split(results, 1)])
    return labelled_sheet([""] * len(rows[0]), rows, ["", *styles])


def labelled_sheet(
    columns: Sequence[str], rows: Sequence[Sequence[Tensor]], row_names: Sequence[str] = ()
) -> Tensor:
    """Return one picture: a grid of pictures, each column headed by its name.

    Names take as many lines as they need; none is cut off.

    Args:
        columns: a name for each column.
        rows: for each row one picture per column, (1, 3, H, W) in [0, 1], all of one size.
        row_names: a name for each row, written on its left; or none.

    Returns:
        (1, 3, H', W'), on the CPU, white between the pictures. All columns are as wide as the
        widest picture; narrower ones are aligned left.

    Raises:
        ValueError: there are no pictures, or not one for each column, or the pictures of a row
            differ in size, or there is not one name per row.
    """
    if not columns or not rows or any(len(row) != len(columns) for row in rows):
        raise ValueError("a sheet needs at least one row, and in each row one picture per column")
    if any(picture.shape != row[0].shape for row in rows for picture in row):
        raise ValueError("the pictures of a row must have the same size")
    if row_names and len(row_names) != len(rows):
        raise ValueError(f"{len(row_names)} names for {len(rows)} rows")
    width = max(row[0].shape[-1] for row in rows)
    headings = _render_names(columns, width)
    names = _render_names(row_names, width) or [torch.ones(0, 0)] * len(rows)
    heading_height = max(heading.shape[0] for heading in headings)
    # A name of many lines may be higher than the pictures of its row.
    heights = [max(row[0].shape[-2], name.shape[0]) for row, name in zip(rows, names, strict=True)]
    left = GAP_PX + (width + GAP_PX if row_names else 0)
    lefts = [left + i * (width + GAP_PX) for i in range(len(columns))]
    top = heading_height + 2 * GAP_PX
    tops = [top + sum(heights[:i]) + i * GAP_PX for i in range(len(rows))]
    sheet = torch.ones(1, 3, tops[-1] + heights[-1] + GAP_PX, lefts[-1] + width + GAP_PX)
    for left, heading in zip(lefts, headings, strict=True):
        _put(sheet, heading, GAP_PX, left)
    for top, name, row in zip(tops, names, rows, strict=True):
        _put(sheet, name, top, GAP_PX)
        for left, picture in zip(lefts, row, strict=True):
            _put(sheet, picture[0], top, left)
    return sheet


def _put(sheet: Tensor, picture: Tensor, top: int, left: int) -> None:
    height, width = picture.shape[-2:]
    sheet[0, :, top : top + height, left : left + width] = picture


def _render_names(names: Sequence[str], width: int) -> list[Tensor]:
    """Return the names as grey pictures (H, `width`) in [0, 1], all in one font size."""
    pieces = [re.findall(r"[^ _=+/.,-]*[ _=+/.,-]?", " ".join(name.split())) for name in names]
    for size in range(min(max(width // 14, _FONT_PX[0]), _FONT_PX[1]), _SMALLEST_FONT_PX - 1, -1):
        font = ImageFont.load_default(size)
        lines = [_lines(name, font, width) for name in pieces]
        whole = all(font.getlength(piece) <= width for name in pieces for piece in name)
        if whole and all(len(name) <= _LINES for name in lines):
            break
    return [_render_lines(name, font, width) for name in lines]


def _lines(pieces: Sequence[str], font: Font, width: int) -> list[str]:
    """Break a name into lines between its pieces; too wide a piece is broken anywhere."""
    lines = [""]
    for piece in pieces:
        for part in [piece] if font.getlength(piece) <= width else piece:
            if font.getlength(lines[-1] + part) > width and lines[-1]:
                lines.append("")
            lines[-1] += part
    return lines


def _render_lines(lines: Sequence[str], font: Font, width: int) -> Tensor:
    _, _, _, bottom = font.getbbox("Ag")
    line_height = round(1.25 * bottom)
    picture = Image.new("L", (width, line_height * len(lines)), "white")
    for i, line in enumerate(lines):
        ImageDraw.Draw(picture).text((0, i * line_height), line, "black", font)
    return torch.from_numpy(np.array(picture)).float() / 255
