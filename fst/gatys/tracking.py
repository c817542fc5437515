"""The records of an optimisation: TensorBoard, `metrics.jsonl`, and progress on the console."""

import time
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fst.config import OptimizeConfig
from fst.terminal import Bar, is_watched, say_if_heard
from fst.training.run_folder import RunFolder
from fst.training.tracking import in_markdown, main_terms


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
        self.writer.add_text("config", in_markdown(config))
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
                self.say(f"{self.bar.postfix}, {seconds:.0f} s")
        if last:
            self.iterations, self.size = step + 1, self.size + 1

    def conclude(self, result: Path, stopped: bool) -> None:
        """Print where the result is."""
        self.bar.close()
        seconds = time.perf_counter() - self.started
        if stopped:
            self.say(f"stopped after {seconds:.0f} s; init={result} resumes from there")
        else:
            self.say(f"complete: {self.iterations} iterations in {seconds:.0f} s")
        self.say(f"picture        {result}")
        self.say(f"contact sheet  {self.folder.contact_sheet}")
        self.say(f"watch with     tensorboard --logdir {self.config.runs_dir}")

    def say(self, text: str) -> None:
        """Print a line."""
        if self.console:
            say_if_heard(text)
