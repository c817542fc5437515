"""What is trained, by what the configuration chose as its style."""

from collections.abc import Collection

from fst.config import AnyStyleConfig, PictureConfig, PicturesConfig, StyleConfig, TrainConfig
from fst.training.any_style import AnyStyleTask
from fst.training.run import run_training
from fst.training.style import StyleTask
from fst.training.task import Task

TASKS: dict[type[StyleConfig], type[Task]] = {
    PictureConfig: StyleTask,
    PicturesConfig: StyleTask,
    AnyStyleConfig: AnyStyleTask,
}


def train(config: TrainConfig, console: bool = False, swept: Collection[str] = ()) -> int:
    """Train a network on style as configured, or resume it; see `run_training`.

    Args:
        config: everything; `fst.config.TrainConfig` documents each field.
        console: print progress.
        swept: the keys that differ between the runs of a sweep.
    """
    return run_training(TASKS[type(config.style)], config, console, swept)
