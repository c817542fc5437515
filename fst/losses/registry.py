"""The losses by name."""

from pkgutil import resolve_name

from fst import config
from fst.losses.perceptual import PerceptualLoss

LOSSES: dict[str, type[PerceptualLoss]] = {
    name: resolve_name(settings.loss) for name, settings in config.LOSSES.items()
}
"""The losses by the name that the configuration gives."""
