"""The tasks by what a configuration chose."""

from collections.abc import Collection

from fst.config import (
    AnyStyleConfig,
    PerceptualLossConfig,
    PictureConfig,
    PicturesConfig,
    PixelLossConfig,
    TrainConfig,
    TrainUpscalerConfig,
    WorksConfig,
)
from fst.training.any_style import AnyStyleTask
from fst.training.run import run_training
from fst.training.style import StyleTask
from fst.training.task import Task
from fst.training.upscaling import UpscalingTask

TASKS: dict[type, type[Task]] = {
    PictureConfig: StyleTask,
    WorksConfig: StyleTask,
    PicturesConfig: StyleTask,
    AnyStyleConfig: AnyStyleTask,
    PixelLossConfig: UpscalingTask,
    PerceptualLossConfig: UpscalingTask,
}
"""By the kind of style or, for super-resolution, of loss."""


def train(
    config: TrainConfig | TrainUpscalerConfig, console: bool = False, swept: Collection[str] = ()
) -> int:
    """Train a network as configured, or resume it; see `run_training`.

    Args:
        config: everything; the fields are documented where they are defined, in `fst.config`.
        console: print progress.
        swept: the keys that differ between the runs of a sweep.
    """
    chosen = config.style if isinstance(config, TrainConfig) else config.loss
    return run_training(TASKS[type(chosen)], config, console, swept)
