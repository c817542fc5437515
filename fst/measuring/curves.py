"""The objective over the iterations of L-BFGS (Gatys' method), against a network's one pass.

This is figure 5 of Johnson et al. 2016. The curves take long to compute and are the same for all
models of one style and loss, so they are kept in a folder.
"""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from fst.atomic import replacing
from fst.gatys.optimization import descend
from fst.losses.objective import Objective, mean_terms
from fst.pictures.image import read_image, write_image
from fst.report import Progress


@dataclass
class Curve:
    """The objective at one size: of L-BFGS, of the network, and of the photograph itself."""

    size_px: int
    optimized: list[list[float]]
    """For each picture, after 0, 1, 2 ... iterations."""
    network: list[float]
    """Of the network's result, for each picture."""
    content: list[float]
    """Of the unchanged picture, for each picture."""

    @property
    def mean(self) -> list[float]:
        """The mean over the pictures after 0, 1, 2 ... iterations."""
        return [statistics.fmean(values) for values in zip(*self.optimized, strict=True)]

    @property
    def equal_iterations(self) -> int | None:
        """Iterations after which the mean is as low as the network's; None: more than these."""
        return _first_below(self.mean, statistics.fmean(self.network))

    @property
    def equal_iterations_each(self) -> list[int | None]:
        """The same for each picture."""
        pairs = zip(self.optimized, self.network, strict=True)
        return [_first_below(values, network) for values, network in pairs]


class CurveStore:
    """Curves of L-BFGS, kept in a folder, so that an interrupted evaluation can be resumed."""

    def __init__(self, folder: Path, iterations: int, start: str, progress: Progress) -> None:
        """Compute curves of this many iterations, from `noise` or `content`."""
        self.folder = folder / "gatys"
        self.iterations = iterations
        self.start = start
        self.progress = progress
        self.done = 0.0
        self.total = 0.0
        """Megapixels times iterations of all the curves that will be measured."""

    def measure(self, loss: Objective, contents: Tensor) -> tuple[Curve, list[Tensor]]:
        """Return the curve of a batch (N, 3, S, S) and the optimised pictures."""
        size_px = contents.shape[-1]
        curve = Curve(size_px, [], [], objectives(loss, contents, contents))
        ends = []
        for number, content in enumerate(torch.split(contents, 1), 1):
            what = f"L-BFGS, {size_px} px, picture {number} of {len(contents)}"
            path = self.folder / f"{self._key(loss, content)}.json"
            picture = path.with_suffix(".png")
            if not (path.exists() and picture.exists()):
                self._optimize(loss, content, path, picture, what)
            curve.optimized.append(json.loads(path.read_text(encoding="utf-8"))["objective"])
            ends.append(read_image(picture).to(content.device))
            self.done += content[0, 0].numel() / 1e6 * self.iterations
        return curve, ends

    def _optimize(
        self, loss: Objective, content: Tensor, path: Path, picture: Path, what: str
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(content.shape, generator=generator).to(content.device)
        start = noise if self.start == "noise" else content
        values: list[float] = []
        last = start
        for image, terms in islice(descend(loss, content, start), self.iterations + 1):
            last = image
            values.append(terms["total"])
            done = self.done + content[0, 0].numel() * (len(values) - 1) / 1e6
            self.progress(f"{what}, objective {values[-1]:.3f}", done, self.total)
        write_image(last, picture)
        with replacing(path) as temporary:  # last: a curve implies a picture
            temporary.write_text(
                json.dumps({"what": what, "objective": values}) + "\n", encoding="utf-8"
            )

    def _key(self, loss: Objective, content: Tensor) -> str:
        """Return a name that identifies this optimisation."""
        settings = {
            "loss": asdict(loss.loss.config),
            "iterations": self.iterations,
            "start": self.start,
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for tensor in (content, *loss.state_dict().values()):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def objectives(loss: Objective, stylized: Tensor, contents: Tensor) -> list[float]:
    """Return the total of each picture."""
    pairs = zip(stylized, contents, strict=True)
    return [mean_terms(loss, y[None], x[None])["total"] for y, x in pairs]


def _first_below(values: Sequence[float], limit: float) -> int | None:
    return next((i for i, value in enumerate(values) if value <= limit), None)
