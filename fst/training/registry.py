"""What is trained, by what the configuration chose as its style."""

from collections.abc import Collection

from fst.config import AnyStyleConfig, PictureConfig, PicturesConfig, StyleConfig, TrainConfig
from fst.training.any_style import AnyStyleTrainer
from fst.training.run import run_training
from fst.training.trainer import Trainer

TRAINERS: dict[type[StyleConfig], type[Trainer]] = {
    PictureConfig: Trainer,
    PicturesConfig: Trainer,
    AnyStyleConfig: AnyStyleTrainer,
}


def train(config: TrainConfig, console: bool = False, swept: Collection[str] = ()) -> int:
    """Train a network on style as configured, or resume it; see `run_training`.

    Args:
        config: everything; `fst.config.TrainConfig` documents each field.
        console: print progress.
        swept: the keys that differ between the runs of a sweep.
    """
    return run_training(TRAINERS[type(config.style)], config, console, swept)
