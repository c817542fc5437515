"""The records of a run: TensorBoard, `metrics.jsonl`, and progress on the console."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from fst.config import OptimizeConfig, RunConfig, to_yaml
from fst.pictures.image import write_image
from fst.terminal import Bar, is_watched, say_if_heard, visible
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
        self.total_images = 0
        self.skipped = skipped
        if is_main:
            folder.trim_metrics(seen_images)
            folder.write_config(config)
            self.writer = SummaryWriter(str(folder.path), purge_step=seen_images + 1)
        self.bar = Bar(
            desc=config.name,
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
        self.writer.add_text("config", in_markdown(self.config))
        add_settings(self.writer, dataclasses.asdict(self.config), heldout, swept)
        self.scalars({"seen_images": 0, **heldout})

    def close(self) -> None:
        """Close the progress bar and TensorBoard's file."""
        self.bar.close()
        if self.is_main:
            self.writer.close()

    def set_length(self, images: int) -> None:
        """Take how many images the run will have seen at its end; 0 while that is not known."""
        self.total_images = images
        self.bar.total = images or None
        self.bar.refresh()

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one."""
        if self.console and self.is_main:
            say_if_heard(text)

    def advance(self, images: int, skipped: Sequence[tuple[str, str]]) -> None:
        """Advance the progress bar; name each skipped picture, with its reason, once."""
        self.bar.update(images)
        for name, reason in skipped:
            if self.console and name not in self.skipped:
                say_if_heard(f"skipped {name}: {reason}")
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
        known = self.total_images and rate
        left = Bar.format_interval((self.total_images - seen) / rate) if known else "?"
        terms = "  ".join(f"{key} {value:.3f}" for key, value in shown.items())
        return f"{seen}/{self.total_images or '?'} images  {rate:.1f}/s  {left} left  {terms}"


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


def in_markdown(config: RunConfig | OptimizeConfig) -> str:
    """Return a configuration as TensorBoard's Markdown shows it unchanged."""
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
