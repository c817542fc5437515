"""Configurations of trainings for scripts and tests, from the overrides of `fst train`."""

from collections.abc import Sequence

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from fst.config import TrainConfig, refuse_unknown
from fst.train import COMMAND
from fst.training.command import as_hydra


def composed(overrides: Sequence[str]) -> TrainConfig:
    """Return what `fst train` makes of its overrides, before it trains."""
    with initialize_config_module("fst.conf", version_base="1.3"):
        expanded = [part for override in overrides for part in as_hydra(override, COMMAND)]
        config = OmegaConf.to_object(compose("train", expanded))
    assert isinstance(config, TrainConfig)
    refuse_unknown(config, "train")
    return config
