"""A training run, whatever is trained: how it steps, reports, saves, stops and resumes.

Progress is counted in images seen, so batch size and number of processes do not change what a
schedule means. Running the same command again resumes.
"""

import math
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fst.config import RunConfig
from fst.config.checks import LARGEST
from fst.data.batches import SPOILED, Batch, content_batches, open_data
from fst.data.resident import ResidentDataset
from fst.data.waiting import FeedError, StoppedWaitingError
from fst.device import pick_device, tf32
from fst.errors import TrainingStoppedError, UserError
from fst.models.model_file import save_model
from fst.training.distributed import World, process_group
from fst.training.meter import Meter
from fst.training.pace import Pace
from fst.training.profiling import profile_steps
from fst.training.resumable import UnfitStateError, check_state
from fst.training.run_folder import RunFolder
from fst.training.schedule import learning_rate
from fst.training.stopping import StopRequest
from fst.training.task import Context, Task
from fst.training.tracking import Tracker

MAX_IN_A_ROW = 10
"""This many skipped steps in a row mean that the training is broken, not a few pictures."""


def run_training(
    kind: Callable[[Context], Task], config: RunConfig, console: bool, swept: Collection[str]
) -> int:
    """Run a training to its end, or resume the run if its folder holds one.

    Args:
        kind: builds what is trained.
        config: everything.
        console: print progress.
        swept: the keys that differ between the runs of a sweep, which TensorBoard shows first.

    Returns:
        0 when the run is complete, else the number of the signal that stopped it.

    Raises:
        UserError: the run folder holds another run, or a picture or weights file is unusable.
        FileNotFoundError: VGG16 weights, pictures or the model of `init` are missing.
        TrainingStoppedError: the weights or all gradients are no longer finite; the last good state
            is kept.
    """
    device = pick_device(config.training.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # all batches have one size
    with process_group() as world, tf32(device, allowed=True):
        run = Run(kind, config, world, device)
        with run.folder.lock() if world.is_main else nullcontext(), StopRequest() as stop:
            return run.run(stop, console, swept)


class Run:
    """A training, whatever its task."""

    def __init__(
        self, kind: Callable[[Context], Task], config: RunConfig, world: World, device: torch.device
    ) -> None:
        """Open the run folder and the pictures, and build the task."""
        if config.training.batch_size % world.size:
            raise UserError(
                f"training.batch_size={config.training.batch_size} cannot be shared by "
                f"{world.size} processes: it counts the images of all of them, so use a multiple"
            )
        self.config = config
        self.world = world
        self.device = device
        self.stop = StopRequest()
        self.folder = RunFolder(config.run_dir)
        self.folder.refuse_other_run(config)
        self.data = open_data(config.data, config.seed, leave_out=[Path(config.runs_dir)])
        self.context = Context(
            config,
            world,
            device,
            self.folder,
            self.data,
            self.data.heldout.to(device),
            self.stopping,
        )
        self.task = kind(self.context)
        self.meter = Meter()
        self.seen_images = 0
        self.images = 0 if config.training.minutes else config.training.images
        """How many to see; 0 until the pace is known."""
        self.seconds = 0.0
        self.heldout_terms: dict[str, float] = {}
        self.heldout_totals: dict[str, float] = {}  # of each style, where there are several
        self.skipped: dict[str, str] = {}
        self.skipped_steps = 0
        self.skipped_in_a_row = 0

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to resume exactly."""
        length = {"images": self.images} if self.config.training.minutes else {}
        return (
            self.task.state_dict()
            | length
            | {
                "seen_images": self.seen_images,
                "seconds": self.seconds,
                "meter": self.meter.state_dict(),
                "heldout_terms": self.heldout_terms,
                "heldout_totals": self.heldout_totals,
                "skipped": self.skipped,
                "skipped_steps": self.skipped_steps,
                "inputs": self.task.inputs,
                "rng": torch.get_rng_state(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            UserError: the state is damaged, or pictures or weights have changed since the run
                began.
        """
        try:
            check_state(state, self.state_dict(), self.task.optimizers())
        except UnfitStateError as error:
            raise self.folder.about_damaged_state() from error
        for what, hashed in self.task.inputs.items():
            if state["inputs"][what] != hashed:
                raise UserError(
                    f"{what} have changed since {self.folder.path} began, so it cannot resume "
                    "exactly: restore them, or give another name=..."
                )
        self.task.load_state_dict(state)
        self.seen_images = state["seen_images"]
        self.images = state.get("images", self.images)
        self.seconds = state["seconds"]
        self.meter.load_state_dict(state["meter"], self.device)
        self.heldout_terms = state["heldout_terms"]
        self.heldout_totals = state["heldout_totals"]
        self.skipped = state["skipped"]
        self.skipped_steps = state["skipped_steps"]
        torch.set_rng_state(state["rng"])

    def run(self, stop: StopRequest, console: bool, swept: Collection[str] = ()) -> int:
        """Train to the end or until stopped; return the number of the stopping signal, or 0."""
        self.stop = stop
        settings = self.config.training
        self.folder.refuse_other_run(self.config)  # again: another run may just have ended here
        self.world.barrier()  # the main process holds the lock now
        if (state := self.folder.read_state()) is not None:
            self.load_state_dict(state)
        self.world.barrier()  # nobody writes before all have read
        with closing(
            Tracker(
                self.folder,
                self.config,
                self.seen_images,
                self.skipped,
                self.world.is_main,
                console,
            )
        ) as tracker:
            pace = self.begin(tracker, swept)
            batches = self.batches()
            if settings.profile and self.world.is_main:
                batches = profile_steps(batches, self.folder.trace, tracker.say)
            start = self.seen_images
            for images, skipped in batches:
                with self.save_without_pictures(start):
                    self.step(images)
                tracker.advance(settings.batch_size, [*skipped, *self.context.skipped])
                self.context.skipped.clear()
                self.find_length(pace, tracker)
                complete = self.is_complete
                # The last good state is kept until it is clear that the weights are not broken.
                sound = not self.skipped_in_a_row
                to_save = complete or (sound and self.has_passed(settings.save_every))
                to_report = to_save or self.has_passed(settings.report_every)
                stopping = not complete and self.world.any(stop.signal is not None)
                if not (to_report or stopping):
                    continue
                report = self.measure()
                if to_save:
                    report |= self.validate(tracker)
                if to_report:
                    tracker.report(report)
                    self.meter.reset()
                if to_save or stopping:
                    self.save()
                if stopping:
                    return self.say_stopped(tracker)
                self.restart_clock()
            return self.finish(tracker, start)

    def begin(self, tracker: Tracker, swept: Collection[str]) -> Pace:
        """Say what begins, judge a model that is not trained yet; return a clock that has begun."""
        settings = self.config.training
        tracker.set_length(self.images)
        self.introduce(tracker)
        pace = Pace(60 * (settings.minutes or 0), settings.save_every)
        if self.seen_images == 0:
            tracker.begin(self.validate(tracker), swept)
            pace.end_save()
        return pace

    def finish(self, tracker: Tracker, start: int) -> int:
        """Conclude a complete run, or save one whose batches ended early as it was stopped."""
        if not self.is_complete:
            self.save_early(start)
            return self.say_stopped(tracker)
        self.conclude(tracker)
        return 0

    def say_stopped(self, tracker: Tracker) -> int:
        """Say that the run was stopped; return the number of the signal."""
        tracker.conclude()
        tracker.say(
            f"stopped at {self.seen_images}{self.of_all} images; "
            "run the same command again to resume"
        )
        return self.stop.signal or signal.SIGTERM

    def batches(self) -> Iterator[Batch]:
        """Yield the batches still to be seen, this process's share of each.

        They end early where a stop is requested and no batch comes.

        Raises:
            FeedError: the photographs are unusable; what was trained is saved first.
        """
        start, resident = self.seen_images, self.config.data.resident
        with self.save_without_pictures(start), suppress(StoppedWaitingError):
            if resident:
                self.data.train = ResidentDataset(self.data.train, self.device, self.stopping)
            self.restart_clock()
            while not self.is_complete:
                self.data.train.left_out = left_out = self.spoiling()
                for batch in content_batches(
                    self.data.train,
                    batch_size=self.config.training.batch_size,
                    start=self.seen_images,
                    end=self.images or LARGEST,
                    rank=self.world.rank,
                    world_size=self.world.size,
                    workers=0 if resident else self.config.data.workers,
                    pin_memory=self.device.type == "cuda" and not resident,
                    stopping=None if resident else self.stopping,
                ):
                    yield batch
                    if self.spoiling() != left_out or self.is_complete:
                        break  # workers have read ahead: those behind must not meet them either

    def spoiling(self) -> frozenset[str]:
        """Return the names of the pictures that are left out since they spoiled a step."""
        return frozenset(name for name, reason in self.skipped.items() if reason == SPOILED)

    def stopping(self) -> bool:
        """Say whether a stop is requested."""
        return self.stop.signal is not None

    @contextmanager
    def save_without_pictures(self, start: int) -> Iterator[None]:
        """Save what was trained since `start` before a `FeedError` ends the run."""
        try:
            yield
        except FeedError as error:
            if not self.save_early(start):
                raise
            raise FeedError(
                f"{error}. {self.folder.path} is saved at {self.seen_images} images: once this is "
                "mended, run the same command again to resume"
            ) from error

    def save_early(self, start: int) -> bool:
        """Save what was trained since `start`, without a report; return whether there was any."""
        if self.seen_images == start or not self.world.is_main:
            return False
        if self.meter.steps and self.world.size == 1:
            self.measure()  # for the time, and so that what is not finite is not saved
        self.save()
        return True

    @property
    def is_complete(self) -> bool:
        """Whether all images were seen."""
        return 0 < self.images <= self.seen_images

    @property
    def of_all(self) -> str:
        """In words, of how many images; nothing until that is known."""
        return f" of {self.images}" if self.images else ""

    def find_length(self, pace: Pace, tracker: Tracker) -> None:
        """Set how many images `training.minutes` has time for, once the main process knows."""
        if self.images:
            return
        settings = self.config.training
        images = pace.end_step(self.seen_images, settings.batch_size) if self.world.is_main else 0
        self.images = int(self.world.total(torch.tensor(images)))
        if self.images:
            tracker.set_length(self.images)
            tracker.say(f"training.minutes={settings.minutes:g} has time for {self.images} images")

    def step(self, images: Tensor) -> None:
        """Train on a batch, uint8 (N, 3, S, S): one step of the task, and of the average.

        A step whose gradient is not finite is skipped.

        Raises:
            TrainingStoppedError: so were all those before it.
        """
        settings = self.config.training
        length = self.images or settings.images
        rate = learning_rate(min(self.seen_images, length), length, self.config.optimizer)
        for descent in self.task.descents:
            descent.set_rate(rate)
        measured = self.task.step(images, self.seen_images + self.world.rank * len(images))
        if measured is None:
            self.skip_step()
            return
        self.skipped_in_a_row = 0
        self.seen_images += settings.batch_size
        half_life = min(settings.ema_half_life, self.seen_images / 10)  # short while it learns fast
        self.task.update_average(0.5 ** (settings.batch_size / half_life))
        self.meter.add(measured)

    def skip_step(self) -> None:
        """Pass over the present batch, and leave its pictures out from now on.

        Raises:
            TrainingStoppedError: too many steps in a row were skipped.
        """
        batch_size = self.config.training.batch_size
        batch = range(self.seen_images, self.seen_images + batch_size)
        self.seen_images += batch_size
        self.skipped_steps += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= (2 if self.is_complete else MAX_IN_A_ROW):
            raise self.divergence("the gradient")
        if not any(descent.overflows for descent in self.task.descents):
            names = [self.data.train.name_at(position) for position in batch]
            self.context.skipped += [(name, SPOILED) for name in names]

    def divergence(self, what: str) -> TrainingStoppedError:
        """Return the error that ends a training which cannot go on."""
        kept = f"the last good state is in {self.folder.path}"
        return TrainingStoppedError(
            f"{what} became infinite or NaN within {self.seen_images} images; "
            f"{kept if self.folder.state.exists() else 'no state was saved yet'}. "
            "Lower optimizer.learning_rate, or use training.precision=fp32, under another name"
        )

    def has_passed(self, every: int) -> bool:
        """Return whether the last step reached or passed a multiple of `every` images."""
        return self.seen_images % every < self.config.training.batch_size

    def restart_clock(self) -> None:
        """Count time and images from here: evaluating and saving are not training time."""
        self.clock = (self.seen_images, time.perf_counter())

    def measure(self) -> dict[str, float]:
        """Return the report of the steps since the last one.

        Raises:
            TrainingStoppedError: the loss or a weight is not finite.
        """
        images_before, time_before = self.clock
        # First: it waits until a GPU has done its steps. There are none where all were skipped.
        terms = self.meter.means(self.world) if self.meter.steps else {}
        seconds = time.perf_counter() - time_before
        self.seconds += seconds
        if terms:  # not `total`: that of held-out pictures is weighted in another way
            terms = {"objective": terms.pop("total"), **terms}
        if not math.isfinite(terms.get("objective", 0.0)):
            raise self.divergence("the loss")
        networks = [descent.network for descent in self.task.descents]
        weights = [each for network in networks for each in network.parameters()]
        if not nn.utils.get_total_norm(weights).isfinite():
            raise self.divergence("a weight")
        return {
            "seen_images": self.seen_images,
            "seconds": round(self.seconds, 3),
            "images_per_second": round((self.seen_images - images_before) / seconds, 3),
            "learning_rate": self.task.descent.rate,
            "skipped_steps": self.skipped_steps,
            **terms,
        }

    def validate(self, tracker: Tracker) -> dict[str, float]:
        """Measure the model on the held-out pictures; return its terms by TensorBoard's names."""
        if not self.world.is_main or not len(self.context.heldout):
            return {}
        found = self.task.validate()
        tracker.contact_sheet(found.sheet, self.seen_images)
        self.heldout_terms, self.heldout_totals = found.terms, found.totals
        shown = found.terms | {f"total/{style}": total for style, total in found.totals.items()}
        return {f"heldout/{name}": value for name, value in shown.items()}

    def save(self) -> None:
        """Write the model, then the state: a run killed in between resumes from the old state."""
        if self.world.is_main:
            model = self.task.model()
            info = self.task.describe(
                model, self.seen_images, self.heldout_terms, self.heldout_totals
            )
            save_model(self.folder.model, model, info)
            self.folder.write_state(self.state_dict())

    def introduce(self, tracker: Tracker) -> None:
        """Print what is trained, on what and with what."""
        config = self.config
        for line in self.task.about():
            tracker.say(line)
        start = f"starting from {config.init}" if config.init else "starting"
        verb = "resuming" if self.seen_images else start
        if self.is_complete:
            verb = "nothing left to train"
        tracker.say(f"{verb} at {self.seen_images}{self.of_all} images")

    def conclude(self, tracker: Tracker) -> None:
        """Print the result, and what can be done with it."""
        losses = ", ".join(f"{k} {v:.3f}" for k, v in self.heldout_terms.items() if "/" not in k)
        tracker.conclude()
        tracker.say(
            f"complete: {self.seen_images} images in {self.seconds:.0f} s"
            + (f"; {self.skipped_steps} steps skipped" if self.skipped_steps else "")
            + (f"; held out: {losses}" if losses else "")
        )
        tracker.say(f"model          {self.folder.model}")
        if self.heldout_terms:
            tracker.say(f"contact sheet  {self.folder.contact_sheet}")
        for line in self.task.use(self.heldout_totals):
            tracker.say(line)
        tracker.say(f"compare with   tensorboard --logdir {self.config.runs_dir}")
