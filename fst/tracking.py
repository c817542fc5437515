"""What a run shows of itself: TensorBoard, `metrics.jsonl`, and progress on the console."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from fst.config import TrainConfig, to_yaml
from fst.image import write_image
from fst.run_folder import RunFolder, flatten

_SHOWN = ("total", "content", "style")
_COMPARED = ("heldout/content", "heldout/style", "heldout/total_variation")


class Tracker:
    """The records of one run, made by its main process; x is counted in images seen."""

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        seen_images: int,
        skipped: dict[str, str],
        is_main: bool,
        console: bool,
    ) -> None:
        """Go on after `seen_images`: later records of an interrupted run are dropped.

        `skipped` holds the pictures that were passed over, with reasons; new ones are added.
        Processes other than the main one write nothing and only name the pictures they skip.
        """
        self.folder = folder
        self.is_main = is_main
        self.console = console
        self.total_images = config.training.images
        self.skipped = skipped
        if is_main:
            folder.trim_metrics(seen_images)
            folder.write_config(config)
            self.writer = SummaryWriter(str(folder.path), purge_step=seen_images + 1)
            if seen_images == 0:
                self._write_config(config)
        self.bar = tqdm(
            desc=config.name,
            total=self.total_images,
            initial=seen_images,
            unit="img",
            disable=not (console and is_main and sys.stderr.isatty()),
            dynamic_ncols=True,
            smoothing=0.05,
        )

    def close(self) -> None:
        """End the progress bar and TensorBoard's file."""
        self.bar.close()
        if self.is_main:
            self.writer.close()

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one."""
        if self.console and self.is_main:
            tqdm.write(text)
            sys.stdout.flush()  # into a pipe or a file too, line by line

    def advance(self, images: int, skipped: Sequence[tuple[str, str]]) -> None:
        """Move the progress bar on; name each skipped picture, with its reason, once."""
        self.bar.update(images)
        for name, reason in skipped:
            if self.console and name not in self.skipped:
                tqdm.write(f"skipped {name}: {reason}")
            self.skipped[name] = reason

    def conclude(self) -> None:
        """End the progress bar; say how many pictures were skipped."""
        self.bar.close()
        if self.skipped:
            self.say(f"{len(self.skipped)} picture(s) were skipped: {', '.join(self.skipped)}")

    def report(self, values: dict[str, float]) -> None:
        """Record a report: `seen_images`, `seconds`, `images_per_second` and named scalars."""
        if not self.is_main:
            return
        self.folder.append_metrics(values)
        self.scalars(values)
        shown: dict[str, float] = {key: values[key] for key in _SHOWN}
        self.bar.set_postfix({key: f"{value:.3f}" for key, value in shown.items()})
        if self.bar.disable:
            self.say(self._line(values, shown))

    def scalars(self, values: dict[str, float]) -> None:
        """Draw named values in TensorBoard at `values["seen_images"]`."""
        if not self.is_main:
            return
        for name, value in values.items():
            if name != "seen_images":
                tag = name if name in _UNGROUPED or name.startswith("heldout/") else f"loss/{name}"
                self.writer.add_scalar(_UNGROUPED.get(name, tag), value, int(values["seen_images"]))

    def contact_sheet(self, sheet: Tensor, seen_images: int) -> None:
        """Show and write the contact sheet, (1, 3, H, W) in [0, 1]."""
        self.writer.add_image("heldout/contact_sheet", sheet[0], seen_images)
        write_image(sheet, self.folder.contact_sheet)

    def _write_config(self, config: TrainConfig) -> None:
        indented = "".join(f"    {line}\n" for line in to_yaml(config).splitlines())
        self.writer.add_text("config", indented)
        settings = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in flatten(dataclasses.asdict(config)).items()
        }
        # Not add_hparams(), which would open a second run of its own beside this one.
        events: Any = self.writer.file_writer
        summaries: Any = hparams
        for summary in summaries(settings, dict.fromkeys(_COMPARED, 0.0)):
            events.add_summary(summary)

    def _line(self, values: dict[str, float], shown: dict[str, float]) -> str:
        seen, rate = int(values["seen_images"]), values["images_per_second"]
        left = tqdm.format_interval((self.total_images - seen) / rate) if rate else "?"
        terms = "  ".join(f"{key} {value:.3f}" for key, value in shown.items())
        return f"{seen}/{self.total_images} images  {rate:.1f}/s  {left} left  {terms}"


_UNGROUPED = {
    "seconds": "speed/seconds",
    "images_per_second": "speed/images_per_second",
    "learning_rate": "optimizer/learning_rate",
    "gradient_norm": "optimizer/gradient_norm",
}
"""TensorBoard's tags of the values that are no loss."""
