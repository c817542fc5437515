"""The run folder `runs/NAME/`: what lies in it, whose it is, and how a run finds its way back.

config.yaml         the whole configuration, by which a run knows its folder again
model.safetensors   the model (moving average of the weights), always whole
state.pt            everything that training needs to go on
metrics.jsonl       a line a report
contact_sheet.jpg   content, style and result, at the last save
events.out.*        TensorBoard's
"""

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf

from fst.atomic import replacing
from fst.config import OptimizeConfig, TrainConfig, to_yaml
from fst.errors import UserError

FREE_KEYS = {
    "name",
    "runs_dir",
    "data.workers",
    "data.path",  # another way to the same pictures, which the state knows again
    "style.picture",
    "training.report_every",
    "training.save_every",
    "training.device",
    "training.compile",
}
"""What may change between two sittings of one run, as the trained model does not depend on it."""
_DIFFERENCES_SHOWN = 8

if sys.platform != "win32":
    import fcntl


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
        """The reports, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def contact_sheet(self) -> Path:
        """The picture of contents and results."""
        return self.path / "contact_sheet.jpg"

    def refuse_other_run(self, config: TrainConfig) -> None:
        """Raise UserError, naming what differs, if the folder holds another configuration."""
        if not (self.config.exists() and self.state.exists()):
            return  # what failed before its first save may be begun anew in another way
        try:
            there = flatten(OmegaConf.to_container(OmegaConf.load(self.config)))
        except (yaml.YAMLError, ValueError) as error:
            raise UserError(
                f"{self.config} is damaged; restore it, or give another name=..."
            ) from error
        here = flatten(dataclasses.asdict(config))
        differing = [
            f"{key} is {there.get(key)} there and {here.get(key)} here"
            for key in sorted(there.keys() | here.keys())
            if key not in FREE_KEYS and there.get(key) != here.get(key)
        ]
        if differing:
            shown = "; ".join(differing[:_DIFFERENCES_SHOWN])
            more = len(differing) - _DIFFERENCES_SHOWN
            raise UserError(
                f"{self.path} holds a run of another configuration ({shown}"
                f"{f'; and {more} more' if more > 0 else ''}). "
                "Give this one another name=..., or remove that folder"
            )

    def write_config(self, config: TrainConfig | OptimizeConfig) -> None:
        """Write the configuration, every value spelt out."""
        with replacing(self.config) as temporary:
            temporary.write_text(to_yaml(config))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in this folder.

        Raises:
            UserError: one does already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                if sys.platform != "win32":
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process is working in {self.path}; give this one another name=..."
                ) from None
            yield

    def write_state(self, state: dict[str, Any]) -> None:
        """Write the resumable state."""
        with replacing(self.state) as temporary:
            torch.save(state, temporary)

    def read_state(self) -> dict[str, Any] | None:
        """Return the resumable state, on the CPU, or None if the run has none yet."""
        if not self.state.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch.load raises UnpicklingError, EOFError, RuntimeError ... on a damaged file
            raise UserError(
                f"{self.state} is damaged; remove it to start again, or give another name=..."
            ) from error
        return state

    def append_metrics(self, values: dict[str, float]) -> None:
        """Add one report to the metrics; JSON has no infinity, which becomes null."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self.metrics.open("a") as file:
            file.write(json.dumps(finite) + "\n")

    def training_seconds(self, seen_images: int) -> float | None:
        """Return how long it took to see so many images, by the last report on them, or None."""
        if not self.metrics.is_file():
            return None
        seconds = None
        for line in self.metrics.read_text().splitlines():
            with contextlib.suppress(ValueError):  # cut off by a crash
                report = json.loads(line)
                if report["seen_images"] <= seen_images:
                    seconds = report.get("seconds")
        return seconds

    def trim_metrics(self, seen_images: int) -> None:
        """Drop the reports later than `seen_images`, which the resumed run makes again."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text().splitlines(keepends=True):
            # A line without its end was cut off by a crash, and is later than any saved state.
            if line.endswith("\n") and json.loads(line)["seen_images"] <= seen_images:
                kept.append(line)
        with replacing(self.metrics) as temporary:
            temporary.write_text("".join(kept))


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, with dotted keys."""
    if not isinstance(values, dict):
        return {prefix.removesuffix("."): values}
    return {
        k: v
        for name, value in values.items()
        for k, v in flatten(value, f"{prefix}{name}.").items()
    }
