"""The losses by name."""

from fst.losses.papers import GatysLoss, JohnsonLoss
from fst.losses.perceptual import PerceptualLoss
from fst.losses.relative import MomentsLoss, RelativeLoss

LOSSES: dict[str, type[PerceptualLoss]] = {
    "moments": MomentsLoss,
    "relative": RelativeLoss,
    "gatys": GatysLoss,
    "johnson": JohnsonLoss,
}
"""The losses by the name that the configuration gives."""
