"""How good the model of a training is, on pictures it was not trained on, and what they look like.

Shapes: N held-out pictures of S x S pixels.
"""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from fst.losses.objective import Objective, mean_terms
from fst.losses.temporal import temporal_term
from fst.networks.styled import StyledNetwork, in_style
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range
from fst.pictures.sheet import collage, contact_sheet, styles_sheet
from fst.training.style_pictures import Style
from fst.training.task import Context, Validation

MAX_STYLES = 32
"""Of more styles, this many at equal distances are measured: each takes a pass per picture."""
SHOWN = 4
"""Held-out pictures on the sheet of several styles."""


@torch.no_grad()
def validate(
    context: Context,
    model: TransformerNetwork | StyledNetwork,
    styles: Sequence[Style],
    loss: Objective,
) -> Validation:
    """Stylize the held-out pictures in every style, and measure the results.

    The temporal term is measured where the run trains by it.

    Args:
        context: of the run.
        model: what is validated.
        styles: its styles.
        loss: which knows the styles by the same numbers.
    """
    contents = to_unit_range(context.heldout)
    steady, seed = context.config.loss.temporal_weight, context.config.seed
    step = math.ceil(len(styles) / MAX_STYLES)
    found: dict[str, dict[str, float]] = {}
    pictures: list[Tensor] = []
    for number in range(0, len(styles), step):
        network = in_style(model, number)
        stylized = torch.cat([network(picture[None]) for picture in contents])
        terms = mean_terms(loss, stylized, contents, number)
        if steady:
            steadiness = [
                temporal_term(network, x[None], y[None], seed, position)
                for position, (x, y) in enumerate(zip(contents, stylized, strict=True))
            ]
            terms["temporal"] = torch.stack(steadiness).mean().item()
        found[styles[number].name] = terms
        pictures.append(stylized)
    means = {
        name: statistics.fmean(terms[name] for terms in found.values())
        for name in next(iter(found.values()))
    }
    if isinstance(model, TransformerNetwork):
        sheet = contact_sheet(collage(styles[0].pictures), contents, pictures[0])
        return Validation(means, sheet)
    shown = {style.name: collage(style.pictures) for style in styles[::step]}
    sheet = styles_sheet(shown, contents[:SHOWN], [results[:SHOWN] for results in pictures])
    return Validation(means, sheet, {name: terms["total"] for name, terms in found.items()})
