"""What `fst compare` writes: a sheet, a table as Markdown and JSON, and a TensorBoard run."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from fst.atomic import write_texts
from fst.measuring.comparison import ROUNDS, Comparison
from fst.pictures.image import write_image
from fst.report import number, table
from fst.terminal import visible

_SETTINGS_SHOWN = 8
_EVENTS_SUFFIX = ".comparison"


def markdown(comparison: Comparison, command: str) -> str:
    """Return the comparison as a Markdown page: the table and the notes on it.

    Each model is a column, as in the sheet, which keeps the table readable in TensorBoard and
    terminals. It has the loss terms that the models recorded, without those of single layers.
    """
    rows = comparison.rows
    keys = sorted({key for row in rows for key in row.settings})
    recorded = {tag for row in rows for tag in row.losses if tag.count("/") == 1}
    tags = sorted(recorded, key=lambda tag: (tag == "heldout/total", tag))
    facts = {
        "run": [row.name for row in rows],
        **{key: [_setting(row.settings, key) for row in rows] for key in keys[:_SETTINGS_SHOWN]},
        **{tag: [number(row.losses.get(tag), ".3f") for row in rows] for tag in tags},
        "loss network": [row.loss_network for row in rows],
        "images seen": [number(row.seen_images, ",") for row in rows],
        "training time": [number(row.training_seconds, ",.0f", " s") for row in rows],
        "parameters": [number(row.parameters, ",") for row in rows],
        "file": [f"{row.megabytes:.2f} MB" for row in rows],
        "ms per picture": [f"{row.milliseconds:.1f}" for row in rows],
        "pictures/s": [f"{row.pictures_per_second:.1f}" for row in rows],
    }
    engines = {row.engine for row in rows}
    if len(engines) > 1:
        facts["engine"] = [row.engine for row in rows]
    header, *body = ([name, *cells] for name, cells in facts.items())
    lines = [f"`{command}`", "", *table(header, body)]
    engine = f", {engines.pop()}" if len(engines) == 1 else ""
    lines += [
        "",
        f"Speed: one picture of {comparison.size}x{comparison.size} at a time, medians of {ROUNDS} "
        f"interleaved rounds; {comparison.machine}{engine}.",
    ]
    notes = list(comparison.notes)
    if more := keys[_SETTINGS_SHOWN:]:
        notes.insert(0, f"{len(more)} more settings differ: {', '.join(more)}.")
    for note in notes:
        lines += ["", note]
    return "\n".join(map(visible, lines)) + "\n"


def write_comparison(folder: Path, comparison: Comparison, command: str) -> list[Path]:
    """Write the sheet, the table as Markdown and JSON, and a TensorBoard run; return the files.

    The results of an earlier comparison in the folder are replaced; other files are not touched.
    """
    page = markdown(comparison, command)
    content = {
        "command": command,
        "size": comparison.size,
        "rounds": ROUNDS,
        "machine": comparison.machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "notes": comparison.notes,
        "runs": [
            {**dataclasses.asdict(row), "pictures_per_second": row.pictures_per_second}
            for row in comparison.rows
        ],
    }
    texts = {"comparison.md": page, "comparison.json": json.dumps(content, indent=2) + "\n"}
    write_image(comparison.sheet, folder / "comparison.jpg")
    write_texts(folder, texts)
    earlier = list(folder.glob(f"events.out.tfevents.*{_EVENTS_SUFFIX}"))
    with SummaryWriter(str(folder), filename_suffix=_EVENTS_SUFFIX) as writer:
        writer.add_image("comparison/sheet", comparison.sheet[0])
        writer.add_text("comparison/table", page)
    for events in earlier:
        events.unlink()
    return [folder / name for name in ("comparison.jpg", *texts)]


def _setting(settings: dict[str, Any], key: str) -> str:
    """Return a setting as the command line writes it, or nothing if it is not set."""
    if key not in settings:
        return ""
    value = settings[key]
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
