"""`fst train-upscaler`: the Hydra entry of its training."""

from collections.abc import Collection

from fst.cli.hydra_command import Command, run
from fst.cli.overrides import quote_paths
from fst.config import TrainUpscalerConfig
from fst.errors import UserError

USAGE = """
Train a network for super-resolution on photographs at full resolution; the same command again
resumes a stopped run.

fst train-upscaler data.path=photographs/
fst train-upscaler data.path=photographs/ network.factor=8 data.crop_px=128
fst train-upscaler data.path=photographs/ loss=perceptual init=x4_pixel
"""


def main() -> None:
    """Run training with the overrides of the command line; exit 2 on a mistake in them."""
    run(COMMAND)


def expand(override: str) -> list[str]:
    """Return an override as Hydra takes it: `network=` and `loss=` choose from `upscaling/`.

    Raises:
        UserError: the group belongs to styles.
    """
    key, _, value = override.partition("=")
    if key in ("style", "styles", "experiment"):
        raise UserError(f"fst train-upscaler has no {key}: it trains on photographs alone")
    if key in ("network", "loss"):
        return [f"upscaling/{key}@{key}={value}"]
    return [quote_paths(override)]


def _train(config: TrainUpscalerConfig, swept: Collection[str]) -> int:
    from fst.training.registry import train  # torch: once the configuration is good

    return train(config, console=True, swept=swept)


COMMAND = Command(
    name="train-upscaler",
    usage=USAGE,
    groups=("upscaling/network", "upscaling/loss", "loss_network", "data", "optimizer"),
    expand=expand,
    action=_train,
)
