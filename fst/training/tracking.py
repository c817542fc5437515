"""The records of a run: TensorBoard, `metrics.jsonl`, and progress on the console."""

import dataclasses
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from fst.config import OptimizeConfig, RunConfig, to_yaml
from fst.pictures.image import write_image
from fst.terminal import Bar, is_watched, say, visible
from fst.training.run_folder import RunFolder, flatten

_FIRST_HPARAM = "loss.style_weight"


class Tracker:
    """The records of one run, made by its main process; x is counted in images seen."""

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        seen_images: int,
        skipped: dict[str, str],
        is_main: bool,
        console: bool,
    ) -> None:
        """Continue after `seen_images`: later records of an interrupted run are dropped.

        `skipped` holds the skipped pictures with reasons; new ones are added. Processes other than
        the main one write nothing and only name the pictures they skip.
        """
        self.folder = folder
        self.is_main = is_main
        self.console = console
        self.config = config
        self.total_images = config.training.images
        self.skipped = skipped
        if is_main:
            folder.trim_metrics(seen_images)
            folder.write_config(config)
            self.writer = SummaryWriter(str(folder.path), purge_step=seen_images + 1)
        self.bar = Bar(
            desc=config.name,
            total=self.total_images,
            initial=seen_images,
            unit="img",
            disable=not (console and is_main and is_watched()),
            smoothing=0.05,
        )

    def begin(self, heldout: dict[str, float], swept: Collection[str]) -> None:
        """Record the configuration and the held-out terms of a run that starts.

        Args:
            heldout: the held-out loss terms by TensorBoard's names.
            swept: keys that differ between the runs of a sweep.
        """
        if not self.is_main:
            return
        self.writer.add_text("config", _indented(self.config))
        add_settings(self.writer, dataclasses.asdict(self.config), heldout, swept)
        self.scalars({"seen_images": 0, **heldout})

    def close(self) -> None:
        """Close the progress bar and TensorBoard's file."""
        self.bar.close()
        if self.is_main:
            self.writer.close()

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one."""
        if self.console and self.is_main:
            _say(text)

    def advance(self, images: int, skipped: Sequence[tuple[str, str]]) -> None:
        """Advance the progress bar; name each skipped picture, with its reason, once."""
        self.bar.update(images)
        for name, reason in skipped:
            if self.console and name not in self.skipped:
                _say(f"skipped {name}: {reason}")
            self.skipped[name] = reason

    def conclude(self) -> None:
        """Close the progress bar; print how many pictures were skipped."""
        self.bar.close()
        if self.skipped:
            self.say(f"{len(self.skipped)} pictures were skipped: {', '.join(self.skipped)}")

    def report(self, values: dict[str, float]) -> None:
        """Record a report: `seen_images`, `seconds`, `images_per_second` and named scalars."""
        if not self.is_main:
            return
        self.folder.append_metrics(values)
        self.scalars(values)
        shown = {name: values[name] for name in main_terms(values)}
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

    def _line(self, values: dict[str, float], shown: dict[str, float]) -> str:
        seen, rate = int(values["seen_images"]), values["images_per_second"]
        left = Bar.format_interval((self.total_images - seen) / rate) if rate else "?"
        terms = "  ".join(f"{key} {value:.3f}" for key, value in shown.items())
        return f"{seen}/{self.total_images} images  {rate:.1f}/s  {left} left  {terms}"


class PictureTracker:
    """The records of one picture's optimisation; x is counted in iterations, over all sizes."""

    def __init__(
        self, folder: RunFolder, config: OptimizeConfig, pixels: Sequence[int], console: bool
    ) -> None:
        """Start new records in the folder.

        Args:
            folder: the run's folder.
            config: the run's configuration.
            pixels: the pixels of each size, from coarse to fine, which weigh its iterations in the
                progress.
            console: print progress.
        """
        self.folder = folder
        self.config = config
        self.pixels = pixels
        self.console = console
        self.size = self.iterations = 0
        for old in (*folder.path.glob("events.out.tfevents*"), folder.metrics):
            old.unlink(missing_ok=True)
        folder.write_config(config)
        self.writer = SummaryWriter(str(folder.path))
        self.writer.add_text("config", _indented(config))
        self.started = time.perf_counter()
        self.bar = Bar(
            desc=config.name,
            total=sum(pixels) * config.iterations / 1e6,
            unit="MP",
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
            disable=not (console and is_watched()),
        )

    def close(self) -> None:
        """Close the progress bar and TensorBoard's file."""
        self.bar.close()
        self.writer.close()

    def iteration(self, iteration: int, terms: dict[str, float], image: Tensor, last: bool) -> None:
        """Record an iteration at the current size: its terms, and sometimes the picture.

        Args:
            iteration: 0 for the picture that this size starts from.
            terms: the loss terms by name.
            image: (1, 3, H, W) in [0, 1].
            last: whether the next size follows.
        """
        config = self.config
        step = self.iterations + iteration
        for name, value in terms.items():
            self.writer.add_scalar(f"loss/{name}", value, step)
        done = self.pixels[self.size] * iteration
        self.bar.n = (sum(self.pixels[: self.size]) * config.iterations + done) / 1e6
        self.bar.set_postfix_str(
            f"{config.sizes_px[self.size]} px {iteration}/{config.iterations}, "
            + ", ".join(f"{name} {terms[name]:.3f}" for name in main_terms(terms))
        )
        if last or iteration % config.report_every == 0:
            seconds = time.perf_counter() - self.started
            report = {"iteration": step, "size_px": config.sizes_px[self.size], "seconds": seconds}
            self.folder.append_metrics({**report, **terms})
            self.writer.add_image("stylized", image[0], step)
            if self.bar.disable:
                self._say(f"{self.bar.postfix}, {seconds:.0f} s")
        if last:
            self.iterations, self.size = step + 1, self.size + 1

    def conclude(self, result: Path, stopped: bool) -> None:
        """Print where the result is."""
        self.bar.close()
        seconds = time.perf_counter() - self.started
        if stopped:
            self._say(f"stopped after {seconds:.0f} s; init={result} resumes from there")
        else:
            self._say(f"complete: {self.iterations} iterations in {seconds:.0f} s")
        self._say(f"picture        {result}")
        self._say(f"contact sheet  {self.folder.contact_sheet}")
        self._say(f"watch with     tensorboard --logdir {self.config.runs_dir}")

    def _say(self, text: str) -> None:
        if self.console:
            _say(text)


def _say(text: str) -> None:
    with suppress(BrokenPipeError):  # a run goes on when nobody reads, as after a lost connection
        say(text)


def main_terms(values: Iterable[str]) -> list[str]:
    """Return the names that are loss terms, without those of single layers (`style/relu2_2`).

    Names may begin with `heldout/`.
    """
    plain = {name: name.removeprefix("heldout/") for name in values}
    return [name for name, term in plain.items() if "/" not in term and term not in _NO_TERMS]


def add_settings(
    writer: SummaryWriter,
    settings: dict[str, Any],
    heldout: Iterable[str],
    swept: Collection[str] = (),
) -> None:
    """Put a training's configuration into TensorBoard's HPARAMS tab.

    The tab shows only a few settings at first. TensorBoard puts those that are marked as differing
    before the others, each part in alphabetical order: what is swept over, and the style weight.

    Args:
        writer: TensorBoard's.
        settings: the configuration, possibly nested.
        heldout: names of held-out loss terms, `heldout/...`, by which runs are compared.
        swept: keys that differ between the runs of a sweep.
    """
    flat = {
        key: value if isinstance(value, bool | int | float) else visible(str(value))
        for key, value in flatten(settings).items()
    }
    terms = {f"heldout/{name}" for name in main_terms(n.removeprefix("heldout/") for n in heldout)}
    # add_hparams() would open a second run beside this one.
    events: Any = writer.file_writer
    summaries: Any = hparams
    experiment, *session = summaries(flat, dict.fromkeys(sorted(terms), 0.0))
    plugin_data = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin_data.content)
    first = {_FIRST_HPARAM, *swept}
    for info in content.experiment.hparam_infos:
        info.differs = any(info.name == key or info.name.startswith(f"{key}.") for key in first)
    plugin_data.content = content.SerializeToString()
    for summary in (experiment, *session):
        events.add_summary(summary)


def _indented(config: RunConfig | OptimizeConfig) -> str:
    """Return the configuration as TensorBoard's Markdown shows it unchanged."""
    return "".join(f"    {visible(line)}\n" for line in to_yaml(config).splitlines())


_UNGROUPED = {
    "seconds": "speed/seconds",
    "images_per_second": "speed/images_per_second",
    "learning_rate": "optimizer/learning_rate",
    "gradient_norm": "optimizer/gradient_norm",
    "style_weight": "optimizer/style_weight",
    "skipped_steps": "optimizer/skipped_steps",
}
"""TensorBoard's tags of the values that are not loss terms."""
_NO_TERMS = {*_UNGROUPED, "seen_images"}
