"""What a step minimises when it trains on style, whether styles are known or predicted."""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from fst.config import TrainConfig
from fst.data.batches import without_margin
from fst.losses.objective import Objective, Pool
from fst.losses.temporal import temporal_term

Stylize: TypeAlias = Callable[[Tensor], Tensor]
"""From pictures (N, 3, H, W) in [0, 1] to stylized ones."""


def style_terms(
    loss: Objective,
    stylize: Stylize,
    content: Tensor,
    styles: Tensor,
    pool: Pool,
    config: TrainConfig,
    position: int,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the means of the loss's terms, and the content distance of each picture.

    Args:
        loss: what results are held against.
        stylize: stylizes each picture in its style.
        content: photographs with their margins, (N, 3, S, S) in [0, 1].
        styles: the number of each picture's style in the loss, (N,).
        pool: joins pictures that are compared with their style as one.
        config: of the run.
        position: the number of images seen before the first of them.

    Returns:
        Scalars by name, the mean weight of the style among them; (N,).
    """
    stylized = stylize(content)
    stylized, content = (without_margin(x, config.data.margin_px) for x in (stylized, content))
    stylized = stylized.float()  # bf16 has 8 significant bits
    of_each = loss(stylized, content, styles, pool)
    terms = {name: values.mean() for name, values in of_each.items()}
    if weight := config.loss.temporal_weight:
        terms["temporal"] = temporal_term(stylize, content, stylized, config.seed, position)
        terms["total"] = terms["total"] + weight * terms["temporal"]
    return {**terms, "style_weight": loss.weights[styles].mean()}, of_each["content"]
