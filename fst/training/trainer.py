"""Training: one network, a perceptual loss, one style or several.

Progress is counted in images seen, so batch size and number of processes do not change what a
schedule means. Running the same command again resumes.
"""

import copy
import dataclasses
import math
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fst.config import PictureConfig, TrainConfig
from fst.device import autocast, pick_device, tf32, training_precision
from fst.errors import TrainingStoppedError, UserError
from fst.losses.temporal import temporal_term
from fst.models.model_file import describe, save_model
from fst.models.model_info import StyleInfo
from fst.networks.cost import count_flops, count_parameters
from fst.networks.registry import build_network
from fst.networks.styled import StyledNetwork, in_style
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range
from fst.report import few
from fst.training.data import Batch, FeedError, content_batches, open_data, without_margin
from fst.training.distributed import World, process_group
from fst.training.judging import judge
from fst.training.meter import Meter
from fst.training.palette import PICTURES, fit_palette
from fst.training.profiling import profiled
from fst.training.resident import ResidentDataset
from fst.training.resumable import UnfitStateError, check_state, fingerprint
from fst.training.run_folder import RunFolder
from fst.training.schedule import learning_rate, update_average
from fst.training.setup import build_losses, start_from
from fst.training.stopping import StopRequest
from fst.training.styles import drawn_styles, open_styles
from fst.training.tracking import Tracker


def train(config: TrainConfig, console: bool = False, swept: Collection[str] = ()) -> int:
    """Train a network as configured, or resume the run if its folder holds one.

    Args:
        config: everything; `fst.config.TrainConfig` documents each field.
        console: print progress.
        swept: the keys that differ between the runs of a sweep, which TensorBoard shows first.

    Returns:
        0 when the run is complete, else the number of the signal that stopped it.

    Raises:
        UserError: the run folder holds another run, or a picture or weights file is unusable.
        FileNotFoundError: VGG16 weights, pictures or the model of `init` are missing.
        TrainingStoppedError: the loss is no longer finite; the last good state is kept.
    """
    device = pick_device(config.training.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # all batches have one size
    with process_group() as world, tf32(device, allowed=True):
        trainer = Trainer(config, world, device)
        with trainer.folder.locked() if world.is_main else nullcontext(), StopRequest() as stop:
            return trainer.run(stop, console, swept)


WORST = 3
"""Styles that are named at the end because their held-out total is highest."""


class Trainer:
    """A run: its inputs and networks, and how it steps, reports, evaluates and saves."""

    def __init__(self, config: TrainConfig, world: World, device: torch.device) -> None:
        if config.training.batch_size % world.size:
            raise UserError(
                f"training.batch_size={config.training.batch_size} cannot be shared by "
                f"{world.size} processes: it counts the images of all of them, so use a multiple"
            )
        if config.network.arguments().get("norm") == "batch" and world.size > 1:
            raise UserError(
                "network.norm=batch normalises over one process's batch: train on one process"
            )
        self.config = config
        self.world = world
        self.device = device
        self.folder = RunFolder(config.run_dir)
        self.folder.refuse_other_run(config)
        self.data = open_data(config.data, config.seed, leave_out=[Path(config.runs_dir)])
        self.heldout = self.data.heldout.to(device)
        self.palette_crops: Tensor | None = None
        if config.training.palette:  # now, as the photographs may be gone when it is finished
            crops, _ = next(content_batches(self.data.train, PICTURES, 0, PICTURES))
            self.palette_crops = crops.to(device)
        self.styles = open_styles(config.style.paths, config.style.size_px, device)
        self.loss, self.heldout_loss = build_losses(
            config, [style.picture for style in self.styles], world
        )
        self.inputs = {
            "the pictures in data.path": self.data.fingerprint,
            "the held-out pictures": fingerprint([self.data.heldout]),
            "the pixels of the style": "".join(style.fingerprint for style in self.styles),
            "the weights of the loss network": fingerprint(
                self.loss.loss_network.state_dict().values()
            ),
        }

        torch.manual_seed(config.seed)
        network = build_network(config.network.name, config.network.arguments())
        if config.init is not None and not self.folder.state.exists():
            start_from(network, config.init)
        self.one_style = isinstance(config.style, PictureConfig)
        self.network: TransformerNetwork | StyledNetwork = network
        if not self.one_style:
            self.network = StyledNetwork(network, len(self.styles))
        self.network.to(device).to(memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.finished = (-1, self.ema)
        self.precision = training_precision(config.training.precision, device)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=config.optimizer.learning_rate,
            betas=(config.optimizer.beta1, config.optimizer.beta2),
            fused=device.type == "cuda",
        )
        self.scaler = torch.amp.GradScaler(
            device.type,
            init_scale=2**12,  # the default of 2**16 overflows, and so skips, the first steps
            enabled=self.precision == "fp16",
        )
        self.meter = Meter()
        self.seen_images = 0
        self.seconds = 0.0
        self.heldout_terms: dict[str, float] = {}
        self.heldout_totals: dict[str, float] = {}  # of each style, where there are several
        self.skipped: dict[str, str] = {}

        self.parallel: nn.Module = self.network
        if world.size > 1:
            self.parallel = DistributedDataParallel(
                self.network, device_ids=[device] if device.type == "cuda" else None
            )
        if config.training.compile or (config.training.compile is None and device.type == "cuda"):
            self.parallel.compile()
            self.loss.compile()  # not the loss network: it sees six shapes

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to resume exactly."""
        return {
            "seen_images": self.seen_images,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "style_weight": self.loss.style_weight,
            "meter": self.meter.state_dict(),
            "heldout_terms": self.heldout_terms,
            "heldout_totals": self.heldout_totals,
            "skipped": self.skipped,
            "inputs": self.inputs,
            "rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            UserError: the state is damaged, or pictures or weights have changed since the run
                began.
        """
        try:
            check_state(state, self.state_dict(), list(self.network.parameters()))
        except UnfitStateError as error:
            raise self.folder.damaged_state() from error
        for what, hashed in self.inputs.items():
            if state["inputs"][what] != hashed:
                raise UserError(
                    f"{what} have changed since {self.folder.path} began, so it cannot resume "
                    "exactly: restore them, or give another name=..."
                )
        self.seen_images = state["seen_images"]
        self.seconds = state["seconds"]
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        settings = self.optimizer.state_dict()["param_groups"]  # those of this configuration
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": settings})
        self.scaler.load_state_dict(state["scaler"])
        self.loss.style_weight.copy_(state["style_weight"])
        self.meter.load_state_dict(state["meter"], self.device)
        self.heldout_terms = state["heldout_terms"]
        self.heldout_totals = state["heldout_totals"]
        self.skipped = state["skipped"]
        torch.set_rng_state(state["rng"])

    def run(self, stop: StopRequest, console: bool, swept: Collection[str] = ()) -> int:
        """Train to the end or until stopped; return the number of the stopping signal, or 0."""
        settings = self.config.training
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
            self.introduce(tracker)
            if self.seen_images == 0:
                tracker.begin(self.judge(tracker), swept)
            batches = self.batches()
            if settings.profile and self.world.is_main:
                batches = profiled(batches, self.folder.trace, tracker.say)
            for images, skipped in batches:
                self.step(images)
                tracker.advance(settings.batch_size, skipped)
                complete = self.seen_images >= settings.images
                to_save = complete or self.passed(settings.save_every)
                to_report = to_save or self.passed(settings.report_every)
                stopping = not complete and self.world.any(stop.signal is not None)
                if not (to_report or stopping):
                    continue
                report = self.measure()
                if to_save:
                    report |= self.judge(tracker)
                if to_report:
                    tracker.report(report)
                    self.meter.reset()
                if to_save or stopping:
                    self.save()
                if stopping:
                    tracker.conclude()
                    tracker.say(
                        f"stopped at {self.seen_images} of {settings.images} images; "
                        "run the same command again to resume"
                    )
                    return stop.signal or signal.SIGTERM
                self.restart_clock()
            self.conclude(tracker)
        return 0

    def batches(self) -> Iterator[Batch]:
        """Yield the batches still to be seen, this process's share of each.

        Raises:
            FeedError: the photographs are unusable; what was trained is saved first.
        """
        start, resident = self.seen_images, self.config.data.resident
        if resident:
            self.data.train = ResidentDataset(self.data.train, self.device)
        self.restart_clock()
        try:
            yield from content_batches(
                self.data.train,
                batch_size=self.config.training.batch_size,
                start=start,
                end=self.config.training.images,
                rank=self.world.rank,
                world_size=self.world.size,
                workers=0 if resident else self.config.data.workers,
                pin_memory=self.device.type == "cuda" and not resident,
            )
        except FeedError as error:
            if self.seen_images == start:
                raise
            self.save()
            raise FeedError(
                f"{error}. {self.folder.path} is saved at {self.seen_images} images: restore the "
                "pictures and run the same command again to resume"
            ) from error

    def step(self, images: Tensor) -> None:
        """Train on a batch, uint8 (N, 3, S, S): one step of the optimizer and of the average."""
        settings = self.config.training
        content = to_unit_range(images.to(self.device, non_blocking=True))
        rate = learning_rate(self.seen_images, settings.images, self.config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        position = self.seen_images + self.world.rank * len(content)
        styles = drawn_styles(len(self.styles), self.config.seed, position, len(content))
        styles = styles.to(self.device, non_blocking=True)
        stylize = self.parallel if self.one_style else partial(self.parallel, styles=styles)
        with autocast(self.device, self.precision):
            stylized = stylize(content)
            stylized, content = (self.without_margin(each) for each in (stylized, content))
            stylized = stylized.float()  # bf16 has 8 significant bits
            of_each = self.loss(stylized, content, styles)
            terms = {name: values.mean() for name, values in of_each.items()}
            if weight := self.config.loss.temporal_weight:
                terms["temporal"] = temporal_term(
                    stylize, content, stylized, self.config.seed, position
                )
                terms["total"] = terms["total"] + weight * terms["temporal"]
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(terms["total"]).backward()
        self.scaler.unscale_(self.optimizer)
        gradient_norm = nn.utils.clip_grad_norm_(
            self.network.parameters(), self.config.optimizer.clip_norm
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        style_weight = self.loss.style_weight[styles].mean()
        missing = self.loss.missing_content(of_each["content"], styles)
        self.loss.adapt(self.world.mean(missing) * self.world.size)
        self.seen_images += settings.batch_size
        half_life = min(settings.ema_half_life, self.seen_images / 10)  # short while it learns fast
        update_average(self.ema, self.network, 0.5 ** (settings.batch_size / half_life))
        self.meter.add({**terms, "style_weight": style_weight, "gradient_norm": gradient_norm})

    def without_margin(self, images: Tensor) -> Tensor:
        """Return what the loss sees of (N, 3, S, S): all but `data.margin_px` on each side."""
        return without_margin(images, self.config.data.margin_px)

    def passed(self, every: int) -> bool:
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
        seconds = time.perf_counter() - time_before
        self.seconds += seconds
        terms = self.meter.means(self.world)
        # Not `total`: that of held-out pictures is weighted in another way.
        terms = {"objective": terms.pop("total"), **terms}
        weights = torch.stack(torch._foreach_norm(list(self.network.parameters())))
        if not (math.isfinite(terms["objective"]) and weights.isfinite().all()):
            kept = f"the last good state is in {self.folder.path}"
            what = "a weight" if math.isfinite(terms["objective"]) else "the loss"
            raise TrainingStoppedError(
                f"{what} became infinite or NaN within {self.seen_images} images; "
                f"{kept if self.folder.state.exists() else 'no state was saved yet'}. "
                "Lower optimizer.learning_rate, or use training.precision=fp32, under another name"
            )
        return {
            "seen_images": self.seen_images,
            "seconds": round(self.seconds, 3),
            "images_per_second": round((self.seen_images - images_before) / seconds, 3),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **terms,
        }

    def model(self) -> TransformerNetwork | StyledNetwork:
        """Return the model as it stands: the average of the weights, its palette fitted."""
        if self.palette_crops is None:
            return self.ema
        seen_images, model = self.finished
        if seen_images != self.seen_images:
            model = copy.deepcopy(in_style(self.ema))
            contents = to_unit_range(self.palette_crops)
            fit_palette(model, contents, self.styles[0].picture, self.config.training.palette)
            self.finished = (self.seen_images, model)
        return model

    def judge(self, tracker: Tracker) -> dict[str, float]:
        """Judge the model by the held-out pictures; return its terms by TensorBoard's names."""
        if not self.world.is_main or not len(self.heldout):
            return {}
        seed = self.config.seed if self.config.loss.temporal_weight else None
        found = judge(
            self.model(), self.styles, to_unit_range(self.heldout), self.heldout_loss, seed
        )
        tracker.contact_sheet(found.sheet, self.seen_images)
        self.heldout_terms, self.heldout_totals = found.terms, found.totals
        shown = found.terms | {f"total/{style}": total for style, total in found.totals.items()}
        return {f"heldout/{name}": value for name, value in shown.items()}

    def save(self) -> None:
        """Write the model, then the state: a run killed in between resumes from the old state."""
        if self.world.is_main:
            model = self.model()
            info = describe(
                model,
                title=self.config.style.title or "",
                seen_images=self.seen_images,
                losses=self.heldout_terms,
                loss_network=self.config.loss_network.name,
                training_config=dataclasses.asdict(self.config),
            )
            if not self.one_style:
                totals = self.heldout_totals
                info.styles = [
                    StyleInfo(
                        s.name, str(s.path), {"total": totals[s.name]} if s.name in totals else {}
                    )
                    for s in self.styles
                ]
            save_model(self.folder.model, model, info)
            self.folder.write_state(self.state_dict())

    def introduce(self, tracker: Tracker) -> None:
        """Print what is trained, on what and with what."""
        config, network = self.config, self.network
        tracker.say(
            f"{config.network.name} network: {count_parameters(network):,} parameters, "
            f"{count_flops(in_style(self.ema), 512, 512) / 1e9:.1f} GFLOP at 512x512"
        )
        tracker.say(f"{self.data.summary}")
        tracker.say(
            f"{self.style_line()}, {config.loss.name} loss, "
            f"loss network {config.loss_network.name}; "
            f"on {self.device}, {self.world.size} process(es), {self.precision}"
        )
        if len(self.heldout):
            tracker.say(
                "objective is weighted by this run's settings, heldout/total by the defaults of "
                f"loss={self.heldout_loss.config.name}: compare heldout/total between runs, not "
                "with objective"
            )
        images = config.training.images
        start = f"starting from {config.init}" if config.init else "starting"
        verb = "resuming" if self.seen_images else start
        if self.seen_images >= images:
            verb = "nothing left to train"
        tracker.say(f"{verb} at {self.seen_images} of {images} images")

    def style_line(self) -> str:
        """Return what is trained on, in words."""
        paths = [str(style.path) for style in self.styles]
        return f"style {paths[0]}" if self.one_style else f"{len(paths)} styles ({few(paths)})"

    def conclude(self, tracker: Tracker) -> None:
        """Print the result, and what can be done with it."""
        losses = ", ".join(f"{k} {v:.3f}" for k, v in self.heldout_terms.items() if "/" not in k)
        tracker.conclude()
        tracker.say(
            f"complete: {self.seen_images} images in {self.seconds:.0f} s"
            + (f"; held out: {losses}" if losses else "")
        )
        tracker.say(f"model          {self.folder.model}")
        if self.heldout_terms:
            tracker.say(f"contact sheet  {self.folder.contact_sheet}")
        if self.heldout_totals:
            worst = sorted(self.heldout_totals.items(), key=lambda entry: -entry[1])[:WORST]
            tracker.say(f"worst styles   {', '.join(f'{k} {v:.3f}' for k, v in worst)}")
        chosen = self.folder.model if self.one_style else f"{self.folder.model}:STYLE"
        tracker.say(f"stylize with   fst stylize {chosen} PICTURE... -o OUT")
        tracker.say(f"compare with   tensorboard --logdir {self.config.runs_dir}")
