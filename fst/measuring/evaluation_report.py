"""What `fst evaluate` writes: Markdown, JSON, a plot, a contact sheet, and TensorBoard runs."""

import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from fst.atomic import replacing, write_texts
from fst.device import pick_device
from fst.measuring.curves import Curve
from fst.measuring.evaluation import ROUNDS, TABLE_ITERATIONS, Evaluation, Report
from fst.measuring.machine import machine_line
from fst.pictures.image import to_bytes_tensor, write_image
from fst.pictures.sheet import labelled_sheet
from fst.report import number, table
from fst.terminal import visible
from fst.training.tracking import add_settings

_SHOWN_ITERATIONS = (10, 30, 100, 300, 500)
_SHEET_ROWS = 4
_EVENTS_SUFFIX = ".evaluation"


def require_plotting() -> None:
    """Raise ImportError, naming the extra, if matplotlib is missing; call it before long work."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "fst evaluate draws with matplotlib: pip install 'fst-style-transfer[evaluate]'"
        ) from error


def sentence(curve: Curve, iterations: int, start: str) -> str:
    """Return a sentence on how many iterations of L-BFGS the network equals at one size."""
    count = len(curve.network)
    pictures = f"{count} picture{'s' if count > 1 else ''} of {curve.size_px} px"
    each = [n for n in curve.equal_iterations_each if n is not None]
    if curve.equal_iterations is None:
        return (
            f"On {pictures} the network's objective is lower than that of {iterations} iterations "
            f"of L-BFGS from {start}."
            if curve.mean[-1] > statistics.fmean(curve.network)
            else ""
        )
    spread = f" (from {min(each)} to {max(each)} each)" if len(each) == count > 1 else ""
    return (
        f"On {pictures} the network's objective equals that of {curve.equal_iterations} iterations "
        f"of L-BFGS from {start}{spread}."
    )


def markdown(report: Report, command: str, device: str) -> str:
    """Return the report as a Markdown page."""
    lines = [
        f"`{command}`",
        "",
        f"{machine_line(pick_device(device))}.",
        "",
        f"### Losses under VGG16, {report.images} photographs of {report.size_px} px",
        "",
        *_table(
            report.evaluations,
            {
                "images seen": lambda e: number(e.info.seen_images or None, ","),
                **{
                    tag: _term(tag)
                    for tag in dict.fromkeys(t for e in report.evaluations for t in e.terms)
                },
                "the loss it was trained with": lambda e: number(e.objective["total"], ".4g"),
            },
        ),
    ]
    lines += [
        "",
        f"### Picture quality under VGG16, photographs and style of {report.size_px} px",
        "",
        *_table(report.evaluations, _QUALITY),
        "",
        "Distances relative to the target, 0 is a perfect match; light, where 1 is. Comparable "
        "between models of one style, however they were trained.",
    ]
    if any(e.curves for e in report.evaluations):
        lines += ["", "### Against L-BFGS (Johnson et al. 2016, figure 5)", "", *_curves(report)]
    if any(e.speeds for e in report.evaluations):
        lines += ["", "### Seconds (their table 1)", "", *_speeds(report)]
    lines += ["", "### Artefacts", "", *_table(report.evaluations, _ARTEFACTS)]
    for video in report.videos:
        lines += ["", f"### Stability, {video}", "", *_table(report.evaluations, _stability(video))]
    for note in report.notes:
        lines += ["", note]
    return "\n".join(map(visible, lines)) + "\n"


def write_report(folder: Path, report: Report, command: str, device: str) -> list[Path]:
    """Write everything into a folder; return the files to look at.

    Each model gets a TensorBoard run there, with the tags that its training uses.
    """
    page = markdown(report, command, device)
    content = {
        "command": command,
        **{
            f.name: getattr(report, f.name)
            for f in dataclasses.fields(report)
            if f.name not in ("examples", "evaluations")
        },
        "evaluations": [
            {
                **dataclasses.asdict(e),
                "equal_iterations": {c.size_px: c.equal_iterations for c in e.curves},
            }
            for e in report.evaluations
        ],
    }
    texts = {"evaluation.md": page, "evaluation.json": json.dumps(content, indent=2) + "\n"}
    write_texts(folder, texts)
    rows = list(zip(*report.examples.values(), strict=True))[:_SHEET_ROWS]
    sheet = labelled_sheet(list(report.examples), rows)
    write_image(sheet, folder / "contact_sheet.jpg")
    written = [folder / name for name in (*texts, "contact_sheet.jpg")]
    curves = folder / "curves.png"
    if any(e.curves for e in report.evaluations):
        plot(report, curves)
        written.append(curves)
    for evaluation in report.evaluations:
        run = folder / evaluation.name
        for earlier in run.glob(f"events.out.tfevents.*{_EVENTS_SUFFIX}"):
            earlier.unlink()  # only these: the folder may be the training run
        with SummaryWriter(str(run), filename_suffix=_EVENTS_SUFFIX) as writer:
            _to_tensorboard(writer, evaluation)
            writer.add_text("evaluation/report", page)
            writer.add_image("heldout/contact_sheet", sheet[0], evaluation.info.seen_images)
            if curves in written:
                picture = to_bytes_tensor(Image.open(curves).convert("RGB"))
                writer.add_image("evaluation/curves", picture)
    return written


def plot(report: Report, path: Path) -> None:
    """Draw the objective over iterations: one row per model, one column per size."""
    from matplotlib.figure import Figure

    evaluations = [e for e in report.evaluations if e.curves]
    columns = max(len(e.curves) for e in evaluations)
    figure = Figure(figsize=(5.2 * columns, 3.8 * len(evaluations)), layout="constrained")
    axes = figure.subplots(len(evaluations), columns, squeeze=False)
    for row, evaluation in zip(axes, evaluations, strict=True):
        for axis, curve in zip(row, evaluation.curves, strict=True):
            _draw(axis, curve, report.start)
            axis.set_title(f"{evaluation.name}, {len(curve.network)} of {curve.size_px} px")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _draw(axis: Any, curve: Curve, start: str) -> None:
    iterations = range(len(curve.mean))
    values = list(zip(*curve.optimized, strict=True))
    low, high = [min(v) for v in values], [max(v) for v in values]
    axis.fill_between(iterations, low, high, alpha=0.2, linewidth=0)
    axis.plot(iterations, curve.mean, label=f"L-BFGS from {start}")
    network = statistics.fmean(curve.network)
    axis.axhline(network, color="C1", label="network, one pass")
    axis.fill_between(
        iterations, min(curve.network), max(curve.network), color="C1", alpha=0.2, lw=0
    )
    axis.axhline(
        statistics.fmean(curve.content), color="C2", linestyle="--", label="photograph, unchanged"
    )
    if curve.equal_iterations is not None:
        axis.axvline(curve.equal_iterations, color="grey", linestyle=":")
        axis.annotate(
            f"{curve.equal_iterations} iterations",
            (curve.equal_iterations, network),
            textcoords="offset points",
            xytext=(6, 6),
        )
    axis.set(xlabel="iterations", ylabel="objective", yscale="log")
    axis.legend()
    axis.grid(alpha=0.3)


def _curves(report: Report) -> list[str]:
    shown = [n for n in _SHOWN_ITERATIONS if n <= report.iterations]
    shown = sorted({*shown, report.iterations})
    header = ["model", "size", "pictures", "photograph", "network"]
    header += [*(f"L-BFGS {n}" for n in shown), "equals iterations"]
    rows, said = [], []
    for evaluation in report.evaluations:
        for curve in evaluation.curves:
            equal = curve.equal_iterations
            cells = [
                evaluation.name,
                f"{curve.size_px}",
                f"{len(curve.network)}",
                number(statistics.fmean(curve.content), ".3f"),
                number(statistics.fmean(curve.network), ".3f"),
                *(number(curve.mean[n], ".3f") for n in shown),
                f"over {report.iterations}" if equal is None else f"{equal}",
            ]
            rows.append(cells)
            name = f"{evaluation.name}: " if len(report.evaluations) > 1 else ""
            said += ["", name + sentence(curve, report.iterations, report.start)]
    return table(header, rows) + said


def _speeds(report: Report) -> list[str]:
    header = ["model", "size", *(f"L-BFGS {n}" for n in TABLE_ITERATIONS), "network"]
    header += [f"ratio {n}" for n in TABLE_ITERATIONS]
    rows = []
    for evaluation in report.evaluations:
        for speed in evaluation.speeds:
            cells = [
                evaluation.name,
                f"{speed.size_px}",
                *(f"{n * speed.iteration_seconds:.1f} s" for n in TABLE_ITERATIONS),
                f"{speed.network_seconds:.4f} s",
                *(f"{speed.times_as_fast(n):,.0f}x" for n in TABLE_ITERATIONS),
            ]
            rows.append(cells)
    return [
        *table(header, rows),
        "",
        f"One picture at a time, all in fp32, medians of {ROUNDS} interleaved rounds: a pass "
        "of the network, and the time of one iteration of L-BFGS times their number.",
    ]


_QUALITY: dict[str, Callable[[Evaluation], str]] = {
    "style: Gram matrices": lambda e: f"{e.quality.gram:.4f}",
    "style: covariance matrices": lambda e: f"{e.quality.covariance:.4f}",
    "style: sliced Wasserstein": lambda e: f"{e.quality.wasserstein:.4f}",
    "content": lambda e: f"{e.quality.content:.3f}",
    "structure (content without palette and contrast)": lambda e: f"{e.quality.structure:.3f}",
    "light (correlation with the photograph)": lambda e: f"{e.quality.light:.3f}",
    "faces kept": lambda e: str(e.faces),
}


_ARTEFACTS: dict[str, Callable[[Evaluation], str]] = {
    "grid, power against neighbouring frequencies": lambda e: f"{e.artefacts.grid_ratio:.2f}",
    "grid, levels of 255": lambda e: f"{e.artefacts.grid_levels:.2f}",
    "blown values": lambda e: f"{e.artefacts.blown_share:.2%}",
    "blown values of the photographs": lambda e: f"{e.artefacts.blown_share_input:.2%}",
    "contrast at the border against the centre": lambda e: f"{e.artefacts.border_contrast:.2f}",
    "colour offset at the border, levels of 255": lambda e: f"{e.artefacts.border_levels:.2f}",
}


def _term(tag: str) -> Callable[[Evaluation], str]:
    return lambda e: number(e.terms[tag], ".4f")


def _stability(video: str) -> dict[str, Callable[[Evaluation], str]]:
    """Return the rows of a video's table."""

    def cell(name: str, form: str) -> Callable[[Evaluation], str]:
        return lambda e: number(getattr(e.stability[video], name), form)

    return {
        "frames": cell("frames", "d"),
        "warping error, levels of 255": cell("warping_error", ".2f"),
        "warping error of the video itself": cell("warping_error_input", ".2f"),
        "share of pixels compared": cell("valid_share", ".0%"),
        "flicker, levels of 255": cell("flicker", ".2f"),
        "flicker of the video itself": cell("flicker_input", ".2f"),
    }


def _table(
    evaluations: Sequence[Evaluation], facts: dict[str, Callable[[Evaluation], str]]
) -> list[str]:
    """Return a table with one column per model."""
    header = ["model", *(e.name for e in evaluations)]
    return table(header, ([name, *(cell(e) for e in evaluations)] for name, cell in facts.items()))


def _to_tensorboard(writer: SummaryWriter, evaluation: Evaluation) -> None:
    seen = evaluation.info.seen_images
    for tag, value in evaluation.terms.items():
        writer.add_scalar(tag, value, seen)
    if evaluation.info.training_config:
        add_settings(writer, evaluation.info.training_config, evaluation.terms)
    for curve in evaluation.curves:
        for iteration, value in enumerate(curve.mean):
            writer.add_scalar(f"evaluation/lbfgs_{curve.size_px}_px", value, iteration)
    figures = {
        "quality": dataclasses.asdict(evaluation.quality) | {"faces": evaluation.faces.share},
        "artefacts": dataclasses.asdict(evaluation.artefacts),
        **{
            f"stability/{Path(video).stem}": dataclasses.asdict(stability)
            for video, stability in evaluation.stability.items()
        },
    }
    for group, values in figures.items():
        for name, value in values.items():
            if value is not None:
                writer.add_scalar(f"{group}/{name}", value, seen)
