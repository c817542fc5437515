"""The styles of a training: their pictures and names, and which of them an image is trained in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fst.errors import UserError
from fst.pictures.formats import is_picture, size_of
from fst.pictures.image import files_below, read_image, resize
from fst.pictures.works import LeftOut, read_works
from fst.streams import Stream
from fst.training.resumable import fingerprint

_MAX_PIXELS = 4_000_000
"""A long picture becomes no larger than this, as each megapixel takes half a gigabyte ..."""
_LONG = 4
"""... unless its longer side is at most this many times the shorter: then its size was chosen."""


@dataclass(frozen=True)
class Style:
    """What a style is learnt from: a picture, or several works."""

    name: str
    paths: list[Path]
    pictures: list[Tensor]
    """Each (1, 3, H, W) in [0, 1], its shorter side `size_px`."""
    fingerprint: str
    """Of the files' own pixels."""

    @property
    def shares(self) -> list[tuple[Tensor, float]]:
        """The pictures with equal shares, as `fst.losses.objective.towards` takes them.

        Of several works the default loss then compares the mean of their means and of their
        covariances: the contrast of one work. The covariance of all their pixels would add the
        differences between works, which no picture has.
        """
        return [(picture, 1.0) for picture in self.pictures]


def open_works(
    name: str, paths: Sequence[str], size_px: int, device: torch.device, left_out: LeftOut
) -> Style:
    """Return the one style of several works, which are the pictures of files and folders.

    Args:
        name: the style's.
        paths: as for `read_works`.
        size_px: the pictures' shorter side.
        device: where to keep them; each takes 3 MB at 448 px.
        left_out: gets what is left out of folders.

    Raises:
        OSError: as `read_works`.
        UserError: as `read_works`, or a picture is far longer than wide.
    """
    style = Style(name, [], [], "")
    fingerprints = []
    for file, picture in read_works(paths, left_out):
        _refuse_long(file, size_px)
        style.paths.append(file)
        style.pictures.append(resize(picture, size_px).to(device))
        fingerprints.append(fingerprint([picture]))
    return replace(style, fingerprint="".join(fingerprints))


def open_styles(paths: Sequence[str], size_px: int, device: torch.device) -> list[Style]:
    """Return the style pictures of files and folders, named after their files.

    Args:
        paths: files are taken as given, folders in the order of the names below them.
        size_px: the pictures' shorter side.
        device: where to keep them.

    Raises:
        FileNotFoundError: a folder holds no pictures.
        UserError: a picture cannot be read, is far longer than wide, or two have one name.
    """
    styles: dict[str, Style] = {}
    for file in _files(paths):
        name = re.sub("[:=,]", "_", file.stem)  # they mean something in MODEL:STYLE=SHARE,...
        if name in styles:
            (other,) = styles[name].paths
            raise UserError(
                f"{other} and {file} would both be the style {name}: rename one of them"
            )
        _refuse_long(file, size_px)
        picture = read_image(file)
        resized = resize(picture, size_px).to(device)
        styles[name] = Style(name, [file], [resized], fingerprint([picture]))
    return list(styles.values())


def draw_styles(styles: int, seed: int, position: int, count: int) -> Tensor:
    """Return the number of the style of each of `count` images, int64 (N,).

    In every `styles` images each style has its turn, in a random order. The numbers depend on
    the seed and the images' positions alone, whatever the batch size and whenever a run resumed.

    Args:
        styles: how many there are.
        seed: the run's.
        position: the first image's position in the data.
        count: how many images.
    """
    numbers = [
        Stream.TURN.random(seed, turn // styles).permutation(styles)[turn % styles]
        for turn in range(position, position + count)
    ]
    return torch.from_numpy(np.array(numbers))


def _refuse_long(file: Path, size_px: int) -> None:
    """Raise UserError for a picture that would be enormous once its shorter side is `size_px`."""
    shorter, longer = sorted(size_of(file))
    if longer > _LONG * shorter and size_px**2 * longer > _MAX_PIXELS * shorter:
        raise UserError(
            f"{file} is {longer / max(shorter, 1):.0f} times as long as wide: with a shorter side "
            f"of {size_px} it would take too much memory; crop it"
        )


def _files(paths: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        found = [path]
        if path.is_dir():
            found = [file for file in files_below(path) if is_picture(file)]
        if not found:
            raise FileNotFoundError(f"no style: {path} holds no pictures")
        files += found
    return files
