"""The run folder `runs/NAME/`: its files, its lock, and how a run recognizes it when it resumes.

config.yaml         the whole configuration, compared when the run is resumed
model.safetensors   the model (moving average of the weights), always complete
state.pt            everything that training needs to resume
metrics.jsonl       one report per line
contact_sheet.jpg   content, style and result at the last save
events.out.*        TensorBoard's
.lock, .lock-owner  kept while a process works in the folder
"""

import dataclasses
import io
import json
import math
import zipfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from fst.atomic import replacing, write_bytes
from fst.config import OptimizeConfig, RunConfig, to_yaml
from fst.errors import UserError
from fst.folder_lock import lock
from fst.models.model_info import is_count
from fst.terminal import visible
from fst.weights_file import refuse_zip_bombs

FREE_KEYS = {
    "name",
    "runs_dir",
    "data.workers",
    # The state holds the contents' hashes of these, so the files may move.
    "data.path",
    "data.heldout_path",
    "loss_network.weights",
    "style.picture",
    "style.pictures",
    "style.works",
    "style.path",
    "style.heldout_path",
    "style.title",
    "training.report_every",
    "training.save_every",
    "training.device",
    "training.compile",
    "training.profile",
}
"""Settings that may change when a run is resumed, because the trained weights do not depend on
them."""
_DIFFERENCES_SHOWN = 8
_YAML_DEPTH = 20
_YAML_STARTS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_YAML_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / "config.yaml"

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.safetensors"

    @property
    def state(self) -> Path:
        """The resumable state."""
        return self.path / "state.pt"

    @property
    def metrics(self) -> Path:
        """The reports, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def contact_sheet(self) -> Path:
        """The picture of contents and results."""
        return self.path / "contact_sheet.jpg"

    @property
    def trace(self) -> Path:
        """The profiled steps' events."""
        return self.path / "steps.pt.trace.json"

    def refuse_other_run(self, config: RunConfig) -> None:
        """Raise UserError, naming what differs, if the folder holds another configuration."""
        if not self.state.exists():
            return  # a run that failed before its first save may start again in another way
        there, here = self.read_config(), flatten(dataclasses.asdict(config))
        differing = [
            f"{key} is {there.get(key)} there and {here.get(key)} here"
            for key in sorted(there.keys() | here.keys())
            if key not in FREE_KEYS and there.get(key) != here.get(key)
        ]
        if differing:
            shown = "; ".join(differing[:_DIFFERENCES_SHOWN])
            more = len(differing) - _DIFFERENCES_SHOWN
            raise UserError(
                f"{self.path} holds a run with another configuration ({shown}"
                f"{f'; and {more} more' if more > 0 else ''}). Give this run another name=... "
                f"(init={self.path} starts it from that model's weights), or remove that folder"
            )

    def read_config(self) -> dict[str, Any]:
        """Return the configuration as a flat dict with dotted keys.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            text = self.config.read_text(encoding="utf-8")
            values = yaml.safe_load(text) if _is_plain(text) else None
        except (yaml.YAMLError, ValueError, OSError, RecursionError):
            values = None
        if not values or not isinstance(values, dict):
            raise UserError(
                f"{self.config} is missing or damaged: restore it, or give another name=..."
            )
        return flatten(values)

    def write_config(self, config: RunConfig | OptimizeConfig) -> None:
        """Write the configuration with every value spelled out."""
        with replacing(self.config) as temporary:
            temporary.write_text(to_yaml(config), encoding="utf-8")

    def lock(self) -> AbstractContextManager[None]:
        """Keep other processes from working in this folder; see `fst.folder_lock`.

        Raises:
            UserError: the folder's name is not UTF-8, or has control characters.
        """
        if visible(str(self.path)) != str(self.path):
            raise UserError(
                f"TensorBoard cannot write into a folder named {self.path}: give this run another "
                "name=... or runs_dir=..."
            )
        return lock(self.path, "give this run another name=...")

    def write_state(self, state: dict[str, Any]) -> None:
        """Write the resumable state, with the CRC-32 of every record, as torch's format has it."""
        content = io.BytesIO()
        torch.save(state, content)
        write_bytes(self.state, content.getbuffer())

    def read_state(self) -> dict[str, Any] | None:
        """Return the resumable state, on the CPU, or None if the run has none yet.

        Raises:
            UserError: the file is damaged.
        """
        if not self.state.exists():
            return None
        try:
            refuse_zip_bombs(self.state)
            with zipfile.ZipFile(self.state) as records:
                damaged = records.testzip()  # torch.load does not compare the checksums
            if damaged:
                raise zipfile.BadZipFile(damaged)
            state = torch.load(self.state, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise TypeError("not a state")
        except OSError:
            raise
        except Exception as error:
            # Damaged files make zipfile and torch raise UnpicklingError, EOFError, zlib.error ...
            raise self.about_damaged_state() from error
        return state

    def about_damaged_state(self) -> UserError:
        """Return the error that says that the state cannot be used."""
        return UserError(
            f"{self.state} is damaged, or was written by another version of fst: remove it to "
            "start again, or give another name=..."
        )

    def append_metrics(self, values: dict[str, float]) -> None:
        """Add one report to the metrics; JSON has no infinity, which becomes null."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")

    def training_seconds(self, seen_images: int) -> float | None:
        """Return how long the first `seen_images` took, by the last report on them, or None."""
        seconds = None
        for report in self.read_metrics():
            if report["seen_images"] <= seen_images:
                seconds = report.get("seconds")
        return seconds

    def trim_metrics(self, seen_images: int) -> None:
        """Drop the reports after `seen_images`, which the resumed run makes again."""
        if not self.metrics.exists():
            return
        kept = [report for report in self.read_metrics() if report["seen_images"] <= seen_images]
        with replacing(self.metrics) as temporary:
            lines = (json.dumps(report) + "\n" for report in kept)
            temporary.write_text("".join(lines), encoding="utf-8")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the reports of a training; lines that a crash damaged are left out."""
        if not self.metrics.is_file():
            return []
        lines = self.metrics.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        return [report for line in lines if (report := _report(line)) is not None]


def _report(line: str) -> dict[str, Any] | None:
    """Return the report of a line, or None if the line is damaged.

    A crash can cut the last line off, and a power failure can fill it with NULs.
    """
    try:
        report = json.loads(line) if line.endswith("\n") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict) or not is_count(report.get("seen_images")):
        return None
    return report if all(map(_is_measured, report.values())) else None


def _is_measured(value: Any) -> bool:
    """Say whether a value is one that `append_metrics` writes."""
    if type(value) is float:
        return math.isfinite(value)
    return value is None or (type(value) is int and is_count(abs(value)))


def _is_plain(text: str) -> bool:
    """Say whether YAML has no aliases and is not deeply nested, as fst writes it.

    A few hundred bytes of either can take the memory or minutes.
    """
    depth = 0
    for token in yaml.scan(text):
        depth += isinstance(token, _YAML_STARTS) - isinstance(token, _YAML_ENDS)
        if depth > _YAML_DEPTH or isinstance(token, yaml.AliasToken):
            return False
    return True


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, with dotted keys."""
    if not isinstance(values, dict):
        return {prefix.removesuffix("."): values}
    return {
        k: v
        for name, value in values.items()
        for k, v in flatten(value, f"{prefix}{name}.").items()
    }
