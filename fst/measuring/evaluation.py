"""Evaluation of trained models: losses, picture quality, Gatys' method, artefacts, stability.

It reproduces the claims of Johnson et al. 2016: figure 5 (the objective of the network's picture
against what L-BFGS reaches, iteration by iteration) and table 1 (the seconds of both).
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from fst.config import LossConfig, MomentsLossConfig, from_untrusted, large_enough
from fst.data.heldout import local
from fst.data.sources import MIN_PX
from fst.device import pick_device
from fst.errors import UserError
from fst.gatys.optimization import descend
from fst.losses.objective import Objective, mean_terms, towards
from fst.losses.registry import LOSSES
from fst.losses.relative import MomentsLoss
from fst.losses.vgg import VGG16, NoWeightsError, deepest, load_vgg16
from fst.measuring.artefacts import Artefacts, measure_artefacts
from fst.measuring.curves import Curve, CurveStore, objectives
from fst.measuring.faces import Faces, count_faces
from fst.measuring.machine import seconds_of
from fst.measuring.quality import LAYERS, Quality, measure_quality
from fst.measuring.stability import Stability, measure_stability
from fst.measuring.subjects import (
    Models,
    is_in_run_folder,
    load_models,
    photographs_for,
    unreadable_notes,
)
from fst.models.model_info import ModelInfo, is_count
from fst.models.model_ref import ModelRef
from fst.pictures.image import read_image, resize, to_unit_range
from fst.report import Progress
from fst.stylizing.stylizer import Stylizer
from fst.video.reader import VideoReader

TABLE_ITERATIONS = (100, 300, 500)
"""The iterations in table 1 of Johnson et al. 2016."""
ROUNDS = 5
"""Timing rounds, interleaved; the median is reported."""
_STYLE_PX = 256


@dataclass
class Speed:
    """Medians at one size, one picture at a time, both in fp32."""

    size_px: int
    network_seconds: float
    iteration_seconds: float
    """Of L-BFGS: one evaluation of the loss and its gradient, and the update."""

    def times_as_fast(self, iterations: int) -> float:
        """Return how many times as long this many iterations take as the network."""
        return iterations * self.iteration_seconds / self.network_seconds


@dataclass
class Evaluation:
    """The results for one model."""

    name: str
    model: str
    """Its file."""
    info: ModelInfo
    terms: dict[str, float]
    """Of the default loss, for every model, under TensorBoard's names `heldout/...`."""
    objective: dict[str, float]
    """Terms of the loss it was trained with, on the same pictures, under VGG16."""
    quality: Quality
    """On the same pictures, with the style as large as they are: comparable between recipes."""
    faces: Faces
    """In the same pictures."""
    curves: list[Curve]
    speeds: list[Speed]
    artefacts: Artefacts
    stability: dict[str, Stability]
    """By video file."""


@dataclass
class Report:
    """The result of `evaluate`."""

    evaluations: list[Evaluation]
    images: int
    size_px: int
    """Side of the pictures on which terms and quality are measured."""
    iterations: int
    start: str
    videos: list[str]
    examples: dict[str, list[Tensor]]
    """Pictures (1, 3, S, S) by column heading: photographs, stylized and optimised pictures."""
    notes: list[str] = field(default_factory=list)


@dataclass
class _Subject:
    """A model with the losses it is evaluated with."""

    name: str
    ref: ModelRef
    stylizer: Stylizer
    style: Tensor
    """(1, 3, H, W) in [0, 1], as large as its file has it."""
    judging: Objective
    objective: Objective

    def stylize(self, pictures: Tensor) -> Tensor:
        return torch.cat([self.stylizer.run(picture[None]) for picture in pictures])


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured.

    Raises:
        UserError: a value is out of range.
    """

    images: int = 12
    """Photographs at the smallest size of `curves`, or 256 px; at larger sizes fewer, in proportion
    to their pixels."""
    sizes: Sequence[int] = (256, 512, 1024)
    """Sides in pixels at which seconds are compared."""
    curves: Sequence[int] = (256, 512)
    """Sides in pixels at which the objective is compared with L-BFGS."""
    iterations: int = 300
    """Of L-BFGS, for the curves."""
    start: str = "noise"
    """What L-BFGS starts from: `noise` as in the paper, or `content`."""

    def __post_init__(self) -> None:
        for key, value in (("images", self.images), ("iterations", self.iterations)):
            if value < 1:
                raise UserError(f"{key}={value} must be at least 1")
        for px in (*self.sizes, *self.curves):
            if px < MIN_PX:
                raise UserError(f"a size of {px} px is too small: use at least {MIN_PX}")
        if self.start not in ("noise", "content"):
            raise UserError(f"start={self.start} is unknown; choose noise or content")

    @property
    def size_px(self) -> int:
        """Side of the pictures on which terms and quality are measured."""
        return min(self.curves, default=256)


def evaluate(
    given: Sequence[str],
    folder: Path,
    extent: Extent,
    photographs: Path | None = None,
    style: Path | None = None,
    videos: Sequence[Path] = (),
    weights: Path | None = None,
    device: str = "auto",
    packages: Sequence[Path] = (),
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Evaluate models on photographs under the real VGG16.

    Args:
        given: what `find_model` takes; paths without a model, and `.pt2` files, are skipped and
            noted.
        folder: keeps the curves of L-BFGS, so that they are not computed again; see `CurveStore`.
        extent: how much is measured.
        photographs: a folder; by default those that the first run folder's training held out.
        style: the style picture; by default the one that a run folder was trained on.
        videos: files on each of which temporal stability is measured.
        weights: a file of VGG16 weights; by default the cache, or a download.
        device: `cuda`, `cpu` ...; see `pick_device`.
        packages: `.pt2` files to include; see `load_models`.
        progress: called with the current step and the fraction done.

    Raises:
        FileNotFoundError: a model, photographs, style, video or VGG16 weights are missing.
        UserError: a file is damaged.
        ImportError: there are videos, and PyAV or OpenCV is not installed.
    """
    for video in videos:
        with VideoReader(video):  # fails now, not after the long work
            pass
    chosen_device = pick_device(device)
    models = load_models(given, packages, device, "fp32")
    size_px, curves = extent.size_px, extent.curves
    pictures, skipped = photographs_for(models, photographs, extent.images, size_px)
    contents = to_unit_range(pictures.to(chosen_device))
    smallest_px = min([size_px, *curves, *extent.sizes])
    subjects = _subjects(models, style, weights, smallest_px, chosen_device)

    by_size = {size_px: contents} if curves else {}
    for px in curves:
        if px != size_px:
            count = max(1, round(len(contents) * (size_px / px) ** 2))
            larger, _ = photographs_for(models, photographs, count, px)
            by_size[px] = to_unit_range(larger.to(chosen_device))
    store = CurveStore(folder, extent.iterations, extent.start, progress)
    found, examples = _curves(store, subjects, by_size, size_px)
    progress("timing", store.done, store.total)
    speeds = _speeds(subjects, extent.sizes, contents)
    evaluations = [
        _evaluation(
            subject,
            contents,
            videos,
            found[subject.name],
            speeds[subject.name],
            lambda what: progress(what, store.done, store.total),
        )
        for subject in subjects
    ]
    notes = [*models.notes, *unreadable_notes(skipped)]
    if len(contents) < extent.images:
        notes.append(f"Only {len(contents)} photographs were found, not {extent.images}.")
    examples = {"photograph": list(torch.split(contents, 1)), **examples}
    files = list(map(str, videos))
    return Report(
        evaluations,
        len(contents),
        size_px,
        extent.iterations,
        extent.start,
        files,
        examples,
        notes,
    )


def _curves(
    store: CurveStore, subjects: Sequence[_Subject], by_size: Mapping[int, Tensor], size_px: int
) -> tuple[dict[str, list[Curve]], dict[str, list[Tensor]]]:
    """Compare each model's objective with L-BFGS's at each size.

    Returns:
        The curves by model; the results at `size_px` by heading, (1, 3, S, S) each.
    """
    pixels = sum(batch.shape[0] * batch[0, 0].numel() for batch in by_size.values())
    store.total = len(subjects) * pixels * store.iterations / 1e6
    found: dict[str, list[Curve]] = {subject.name: [] for subject in subjects}
    examples: dict[str, list[Tensor]] = {}
    for subject in subjects:
        for px, batch in by_size.items():
            curve, optimized = store.measure(subject.objective, batch)
            stylized = subject.stylize(batch)
            curve.network = objectives(subject.objective, stylized, batch)
            found[subject.name].append(curve)
            if px == size_px:
                examples[subject.name] = list(torch.split(stylized, 1))
                heading = f"L-BFGS, {store.iterations} iterations"
                if len(subjects) > 1:
                    heading += f", for {subject.name}"
                examples[heading] = optimized
    return found, examples


def _evaluation(
    subject: _Subject,
    contents: Tensor,
    videos: Sequence[Path],
    curves: list[Curve],
    speeds: list[Speed],
    progress: Callable[[str], None],
) -> Evaluation:
    """Measure losses, quality, artefacts and stability of one model."""
    progress(f"{subject.name}: losses, artefacts")
    stylized = subject.stylize(contents)
    terms = mean_terms(subject.judging, stylized, contents)
    pairs = zip(torch.split(contents, 1), torch.split(stylized, 1), strict=True)
    style = resize(subject.style, contents.shape[-1]).to(contents.device)
    stability = {}
    for video in videos:
        progress(f"{subject.name}: stability on {video.name}")
        stability[str(video)] = measure_stability(subject.stylizer, video)
    return Evaluation(
        subject.name,
        str(subject.ref),
        subject.stylizer.info,
        {f"heldout/{name}": value for name, value in terms.items()},
        mean_terms(subject.objective, stylized, contents),
        measure_quality(subject.judging.loss.loss_network, contents, stylized, style),
        count_faces(pairs),
        curves,
        speeds,
        measure_artefacts(subject.stylize, [contents]),
        stability,
    )


def _subjects(
    models: Models,
    style: Path | None,
    weights: Path | None,
    smallest_px: int,
    device: torch.device,
) -> list[_Subject]:
    """Return the models, each with its losses, which share one VGG16."""
    names, infos = models.names, models.infos
    styles = [_style_settings(info) for info in infos]
    configs = [
        _objective_of(info, min(smallest_px, style.size_px))
        for info, style in zip(infos, styles, strict=True)
    ]
    judging = MomentsLossConfig()
    layers = {layer for c in (judging, *configs) for layer in (c.content_layer, *c.style_layers)}
    layers |= set(LAYERS)
    entries = zip(names, models.refs, styles, strict=True)
    pictures = [_style_picture(name, ref.path, said, style) for name, ref, said in entries]
    network = _vgg16(weights, deepest(layers)).to(device)
    network = network.to(memory_format=torch.channels_last)
    subjects = []
    for i, (ref, stylizer) in enumerate(models.stylizers.items()):
        config = configs[i]
        picture = resize(pictures[i], styles[i].size_px).to(device)
        subjects.append(
            _Subject(
                names[i],
                ref,
                stylizer,
                pictures[i],
                towards(MomentsLoss(network, judging), picture),
                towards(LOSSES[config.name](network, config), picture),
            )
        )
    return subjects


def _objective_of(info: ModelInfo, smallest_px: int) -> LossConfig:
    """Return the loss that a model was trained with; the default one if its file has none."""
    given = info.training_config.get("loss")
    if not given:
        return MomentsLossConfig()
    try:
        name = given.get("name") if isinstance(given, dict) else given
        config: LossConfig = from_untrusted(f"loss/{name}", given)
        large_enough(smallest_px, config, "size")
    except UserError as error:
        raise UserError(
            f"{info.title} was trained with a loss that cannot be used: {error}"
        ) from error
    return config


@dataclass(frozen=True)
class _Style:
    """What a model's file says of its style picture."""

    picture: str | None
    size_px: int


def _style_settings(info: ModelInfo) -> _Style:
    """Return what the file says; anyone may have written it."""
    given = info.training_config.get("style")
    style = given if isinstance(given, dict) else {}
    picture, size_px = style.get("picture"), style.get("size_px", _STYLE_PX)
    if not (picture is None or isinstance(picture, str)) or not is_count(size_px):
        raise UserError(f"{info.title}: its file describes its style in an unknown way")
    return _Style(picture, max(MIN_PX, size_px))


def _vgg16(weights: Path | None, last_layer: str) -> VGG16:
    """Return VGG16 from a file, else from the cache or a download; never as a model file says."""
    if weights is not None and not weights.exists():
        raise FileNotFoundError(f"--weights {weights} does not exist")
    try:
        return load_vgg16(weights, last_layer, padding="reflect")  # as trainings do by default
    except NoWeightsError as error:
        raise FileNotFoundError(
            f"{error}, or give --weights FILE, a .pth or .safetensors file of VGG16"
        ) from error


def _style_picture(name: str, model: Path, said: _Style, given: Path | None) -> Tensor:
    """Return the style picture at the size of its file: the given one, or that of a run folder."""
    path: str | Path | None = given
    if given is None and is_in_run_folder(model) and said.picture is not None:
        path = local(said.picture)
    if path is None or not Path(path).exists():
        unnamed = "it has several works" if is_in_run_folder(model) else "it is not in a run folder"
        reason = unnamed if path is None else f"{path} does not exist"
        raise FileNotFoundError(f"{name}: no style picture ({reason}): give --style PICTURE")
    return read_image(path)


def _speeds(
    subjects: Sequence[_Subject], sizes: Sequence[int], contents: Tensor
) -> dict[str, list[Speed]]:
    """Time the networks and one iteration of L-BFGS for each, interleaved."""
    speeds: dict[str, list[Speed]] = {subject.name: [] for subject in subjects}
    for px in sizes:
        picture = resize(contents[:1], px).contiguous(memory_format=torch.channels_last)
        descents = [descend(s.objective, picture, picture) for s in subjects]
        passes: list[list[float]] = [[] for _ in subjects]
        steps: list[list[float]] = [[] for _ in subjects]
        for _ in range(ROUNDS + 1):  # the first round is a warm-up
            for i, subject in enumerate(subjects):
                passes[i].append(seconds_of(picture.device, subject.stylize, picture))
                steps[i].append(seconds_of(picture.device, next, descents[i]))
        for i, subject in enumerate(subjects):
            medians = statistics.median(passes[i][1:]), statistics.median(steps[i][1:])
            speeds[subject.name].append(Speed(px, *medians))
    return speeds
