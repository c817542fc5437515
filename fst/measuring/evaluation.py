"""How good trained models are: losses, Gatys' method on the same pictures, artefacts, stability.

The claims of Johnson et al. 2016 as figures: their figure 5 (the objective of the network's picture
against what L-BFGS reaches, iteration by iteration) and their table 1 (the seconds of both).
"""

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.atomic import replacing
from fst.config import SCHEMAS, LossConfig, MomentsLossConfig, Vgg16Config
from fst.device import pick_device
from fst.errors import UserError
from fst.losses.loss_network import load_loss_network
from fst.losses.perceptual import PerceptualLoss, mean_terms
from fst.losses.registry import LOSSES
from fst.losses.relative import MomentsLoss
from fst.measuring.artefacts import Artefacts, measure_artefacts
from fst.measuring.comparison import load_models, passed_over, photographs_of, run_names
from fst.measuring.quality import LAYERS, Quality, measure_quality
from fst.measuring.stability import Stability, measure_stability
from fst.models.model_info import ModelInfo
from fst.pictures.image import read_image, resize, to_unit_range, write_image
from fst.report import seconds_of
from fst.stylizing.stylizer import Stylizer
from fst.training.data import MIN_PX
from fst.training.optimization import descend
from fst.video.video_file import VideoReader

TABLE_ITERATIONS = (100, 300, 500)
"""Those of Johnson et al. 2016, table 1."""
ROUNDS = 5
"""How often each is timed, in turns; medians are told."""
_STYLE_PX = 256
Progress = Callable[[str, float, float], None]
"""Is told what is being done, and the megapixels of optimisation that are done and to do."""


@dataclass
class Curve:
    """The objective at one size: L-BFGS from its start on, the network, the photograph itself."""

    size_px: int
    optimized: list[list[float]]
    """For each picture, after 0, 1, 2 ... iterations."""
    network: list[float]
    """For each picture, of the network's result."""
    content: list[float]
    """For each picture, of itself, unchanged."""

    @property
    def mean(self) -> list[float]:
        """The mean over the pictures after 0, 1, 2 ... iterations."""
        return [statistics.fmean(values) for values in zip(*self.optimized, strict=True)]

    @property
    def equal_iterations(self) -> int | None:
        """After how many iterations the mean is as low as the network's; None: not in these."""
        return _first_below(self.mean, statistics.fmean(self.network))

    @property
    def equal_iterations_each(self) -> list[int | None]:
        """The same for each picture."""
        pairs = zip(self.optimized, self.network, strict=True)
        return [_first_below(values, network) for values, network in pairs]


@dataclass
class Speed:
    """Medians at one size, one picture at a time, both in fp32."""

    size_px: int
    network_seconds: float
    iteration_seconds: float
    """Of L-BFGS: one evaluation of the loss and its gradient, and the step."""

    def times_as_fast(self, iterations: int) -> float:
        """Return the seconds of so many iterations over those of the network."""
        return iterations * self.iteration_seconds / self.network_seconds


@dataclass
class Evaluation:
    """What was found of one model."""

    name: str
    model: str
    """Its file."""
    info: ModelInfo
    terms: dict[str, float]
    """Under TensorBoard's names, `heldout/...`: by the loss that judges every model alike."""
    objective: dict[str, float]
    """The terms of the loss that it was trained by, on the same pictures, under VGG16."""
    quality: Quality
    """On the same pictures, with the style as large as they are: comparable between recipes."""
    curves: list[Curve]
    speeds: list[Speed]
    artefacts: Artefacts
    stability: Stability | None


@dataclass
class Report:
    """All that `evaluate` found."""

    evaluations: list[Evaluation]
    images: int
    size_px: int
    """Of the pictures that the terms are measured on."""
    iterations: int
    start: str
    video: str | None
    examples: dict[str, list[Tensor]]
    """Pictures (1, 3, S, S) by the heading of their column: photographs and what became of them."""
    notes: list[str] = field(default_factory=list)


@dataclass
class _Subject:
    """A model with what it is judged by."""

    name: str
    path: Path
    stylizer: Stylizer
    style: Tensor
    """(1, 3, H, W) in [0, 1], as large as its file has it."""
    judging: MomentsLoss
    objective: PerceptualLoss

    def stylize(self, pictures: Tensor) -> Tensor:
        return torch.cat([self.stylizer.run(picture[None]) for picture in pictures])


def evaluate(
    given: Sequence[str],
    folder: Path,
    photographs: Path | None = None,
    style: Path | None = None,
    images: int = 12,
    sizes: Sequence[int] = (256, 512, 1024),
    curves: Sequence[int] = (256, 512),
    iterations: int = 300,
    start: str = "noise",
    video: Path | None = None,
    weights: Path | None = None,
    device: str = "auto",
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Judge models on photographs under the real VGG16.

    Args:
        given: what `find_model` takes; existing paths that are not models are skipped.
        folder: keeps the curves of L-BFGS, which take long and are the same for all models of one
            style and loss: what is there already is not measured again.
        photographs: a folder; otherwise those that the first model's training held out.
        style: the style picture, where a model's file does not say it.
        images: how many photographs, at the smallest size of `curves`, or 256 px; at larger ones
            as many fewer as they have more pixels.
        sizes: sides in pixels at which seconds are compared.
        curves: sides in pixels at which the objective is compared with L-BFGS.
        iterations: of L-BFGS, for the curves.
        start: what L-BFGS starts from: `noise` as in the paper, or `content`.
        video: a file to measure the temporal stability on.
        weights: a file of VGG16 weights; otherwise the cache or a download.
        device: `cuda`, `cpu` ...; `auto` takes CUDA where there is one.
        progress: is told how far it is.

    Raises:
        FileNotFoundError: no such model, photographs, style, video, or no VGG16 weights.
        UserError: a damaged file, or a setting out of range.
        ImportError: a video is given, and what reads it is not installed.
    """
    _check(images, sizes, curves, iterations, start, video)
    place = pick_device(device)
    stylizers, left_alone = load_models(given, device, "fp32")
    names = run_names(list(stylizers))
    infos = {name: stylizer.info for name, stylizer in zip(names, stylizers.values(), strict=True)}
    size_px = min(curves, default=256)
    pictures, skipped = photographs_of(photographs, infos, images, size_px)
    contents = to_unit_range(pictures.to(place))
    subjects = _subjects(names, stylizers, style, weights, place)

    counts = {px: max(1, round(len(contents) * (size_px / px) ** 2)) for px in curves}
    by_size = {
        px: contents
        if px == size_px
        else to_unit_range(photographs_of(photographs, infos, count, px)[0].to(place))
        for px, count in counts.items()
    }
    store = CurveStore(folder, iterations, start, progress)
    pixels = sum(batch.shape[0] * batch[0, 0].numel() for batch in by_size.values())
    store.total = len(subjects) * pixels * iterations / 1e6
    examples = {"photograph": list(torch.split(contents, 1))}
    found: dict[str, list[Curve]] = {}
    for subject in subjects:
        found[subject.name] = []
        for px, batch in by_size.items():
            curve, optimized = store.measure(subject.objective, batch)
            stylized = subject.stylize(batch)
            curve.network = _objectives(subject.objective, stylized, batch)
            found[subject.name].append(curve)
            if px == size_px:
                examples[subject.name] = list(torch.split(stylized, 1))
                heading = f"L-BFGS, {iterations} iterations"
                if len(subjects) > 1:
                    heading += f", for {subject.name}"
                examples[heading] = optimized
    progress("timing", store.done, store.total)
    speeds = _speeds(subjects, sizes, contents)

    evaluations = []
    for subject in subjects:
        progress(f"{subject.name}: losses, artefacts", store.done, store.total)
        stylized = subject.stylize(contents)
        terms = mean_terms(subject.judging, stylized, contents)
        stability = None
        if video is not None:
            progress(f"{subject.name}: stability", store.done, store.total)
            stability = measure_stability(subject.stylizer, video)
        evaluations.append(
            Evaluation(
                subject.name,
                str(subject.path),
                subject.stylizer.info,
                {f"heldout/{name}": value for name, value in terms.items()},
                mean_terms(subject.objective, stylized, contents),
                measure_quality(
                    subject.judging.loss_network,
                    contents,
                    stylized,
                    resize(subject.style, size_px).to(place),
                ),
                found[subject.name],
                speeds[subject.name],
                measure_artefacts(subject.stylize, [contents]),
                stability,
            )
        )
    notes = passed_over(left_alone, skipped)
    if len(contents) < images:
        notes.append(f"There were {len(contents)} photographs, not {images}.")
    where = None if video is None else str(video)
    return Report(evaluations, len(contents), size_px, iterations, start, where, examples, notes)


class CurveStore:
    """Curves of L-BFGS, kept in a folder: an evaluation that was stopped goes on where it was."""

    def __init__(self, folder: Path, iterations: int, start: str, progress: Progress) -> None:
        """Keep curves of so many iterations, from `noise` or `content`."""
        self.folder = folder / "gatys"
        self.iterations = iterations
        self.start = start
        self.progress = progress
        self.done = 0.0
        self.total = 0.0
        """Megapixels of all iterations that will be asked for."""

    def measure(self, loss: PerceptualLoss, contents: Tensor) -> tuple[Curve, list[Tensor]]:
        """Return the curve of a batch (N, 3, S, S), and where the optimisation ended for each."""
        size_px = contents.shape[-1]
        curve = Curve(size_px, [], [], _objectives(loss, contents, contents))
        ends = []
        for number, content in enumerate(torch.split(contents, 1), 1):
            what = f"L-BFGS, {size_px} px, picture {number} of {len(contents)}"
            path = self.folder / f"{self._key(loss, content)}.json"
            picture = path.with_suffix(".png")
            if not (path.exists() and picture.exists()):
                self._optimize(loss, content, path, picture, what)
            curve.optimized.append(json.loads(path.read_text())["objective"])
            ends.append(read_image(picture).to(content.device))
            self.done += content[0, 0].numel() / 1e6 * self.iterations
        return curve, ends

    def _optimize(
        self, loss: PerceptualLoss, content: Tensor, path: Path, picture: Path, what: str
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
        with replacing(path) as temporary:  # last: what has a curve has a picture
            temporary.write_text(json.dumps({"what": what, "objective": values}) + "\n")

    def _key(self, loss: PerceptualLoss, content: Tensor) -> str:
        """Return what tells this optimisation from every other one."""
        told = {"loss": asdict(loss.config), "iterations": self.iterations, "start": self.start}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for tensor in (content, *loss.state_dict().values()):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def _check(
    images: int,
    sizes: Sequence[int],
    curves: Sequence[int],
    iterations: int,
    start: str,
    video: Path | None,
) -> None:
    for key, value in (("images", images), ("iterations", iterations)):
        if value < 1:
            raise UserError(f"{key}={value} must be at least 1")
    for px in (*sizes, *curves):
        if px < MIN_PX:
            raise UserError(f"a size of {px} px is too small: take at least {MIN_PX}")
    if start not in ("noise", "content"):
        raise UserError(f"start={start} is unknown; choose one of noise, content")
    if video is not None:
        with VideoReader(video):  # a mistake is told before the long work
            pass


def _subjects(
    names: Sequence[str],
    stylizers: dict[Path, Stylizer],
    style: Path | None,
    weights: Path | None,
    device: torch.device,
) -> list[_Subject]:
    """Return the models, each with its losses, on one VGG16."""
    configs = [_objective_of(stylizer.info) for stylizer in stylizers.values()]
    judging = MomentsLossConfig()
    layers = {layer for c in (judging, *configs) for layer in (c.content_layer, *c.style_layers)}
    layers |= set(LAYERS)
    infos = [stylizer.info for stylizer in stylizers.values()]
    pictures = [_style_of(name, info, style) for name, info in zip(names, infos, strict=True)]
    network = load_loss_network(_weights_of(infos[0], weights), layers).to(device)
    network = network.to(memory_format=torch.channels_last)
    subjects = []
    for i, (path, stylizer) in enumerate(stylizers.items()):
        config, size_px = configs[i], infos[i].training_config.get("style", {}).get("size_px")
        picture = resize(pictures[i], size_px or _STYLE_PX).to(device)
        subjects.append(
            _Subject(
                names[i],
                path,
                stylizer,
                pictures[i],
                MomentsLoss(network, picture, judging),
                LOSSES[config.name](network, picture, config),
            )
        )
    return subjects


def _objective_of(info: ModelInfo) -> LossConfig:
    """Return the loss that a model was trained by, or the default one if its file does not say."""
    told: dict[str, Any] | None = info.training_config.get("loss")
    config: LossConfig = SCHEMAS[f"loss/{told['name']}"](**told) if told else MomentsLossConfig()
    return config


def _weights_of(info: ModelInfo, weights: Path | None) -> Vgg16Config:
    """Return where VGG16 comes from: as said, else as in the training, else cache or download."""
    told = info.training_config.get("loss_network", {})
    if weights is None and told.get("name") == "vgg16":
        there = told["weights"] is None or Path(told["weights"]).exists()
        return Vgg16Config(weights=told["weights"] if there else None, verify=told["verify"])
    return Vgg16Config(weights=None if weights is None else str(weights))


def _style_of(name: str, info: ModelInfo, style: Path | None) -> Tensor:
    """Return the style picture, as large as its file has it."""
    told = info.training_config.get("style", {})
    path = style or told.get("picture")
    if path is None or not Path(path).exists():
        missing = "its file does not say" if path is None else f"{path} is not there"
        raise FileNotFoundError(f"{name}: no style picture ({missing}): give --style PICTURE")
    return read_image(path)


def _objectives(loss: PerceptualLoss, stylized: Tensor, contents: Tensor) -> list[float]:
    """Return the total of each picture."""
    pairs = zip(stylized, contents, strict=True)
    return [mean_terms(loss, y[None], x[None])["total"] for y, x in pairs]


def _speeds(
    subjects: Sequence[_Subject], sizes: Sequence[int], contents: Tensor
) -> dict[str, list[Speed]]:
    """Time the networks and an iteration of L-BFGS for each, in turns."""
    speeds: dict[str, list[Speed]] = {subject.name: [] for subject in subjects}
    for px in sizes:
        picture = resize(contents[:1], px).contiguous(memory_format=torch.channels_last)
        descents = [descend(s.objective, picture, picture) for s in subjects]
        passes: list[list[float]] = [[] for _ in subjects]
        steps: list[list[float]] = [[] for _ in subjects]
        for _ in range(ROUNDS + 1):  # the first, which allocates, is dropped
            for i, subject in enumerate(subjects):
                passes[i].append(seconds_of(picture.device, subject.stylize, picture))
                steps[i].append(seconds_of(picture.device, next, descents[i]))
        for i, subject in enumerate(subjects):
            medians = statistics.median(passes[i][1:]), statistics.median(steps[i][1:])
            speeds[subject.name].append(Speed(px, *medians))
    return speeds


def _first_below(values: Sequence[float], limit: float) -> int | None:
    return next((i for i, value in enumerate(values) if value <= limit), None)
