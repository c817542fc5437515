"""Regions: masks in which pictures are stylized by other models."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fst.errors import UserError
from fst.models.model_name import exists
from fst.models.model_ref import ModelRef, find_model


def find_regions(
    given: Sequence[str], note: Callable[[str], None] = lambda line: None
) -> dict[Path, ModelRef]:
    """Return the model of each mask, in order.

    Args:
        given: what the user typed, `MASK=MODEL` each.
        note: as for `find_model`.

    Raises:
        FileNotFoundError: there is no such mask or model.
        UserError: something else was typed, or a mask is repeated.
    """
    regions: dict[Path, ModelRef] = {}
    for one in given:
        mask, model = split_region(one)
        if mask.resolve() in {other.resolve() for other in regions}:
            raise UserError(f"--region {mask} is given twice: a mask takes one model")
        regions[mask] = find_model(model, note)
    return regions


def split_region(given: str) -> tuple[Path, str]:
    """Return the mask and the model of `MASK=MODEL`.

    Both may have `=` in their names: the mask ends at the last one that follows an existing file.

    Raises:
        FileNotFoundError: there is no such mask.
        UserError: something else was typed.
    """
    parts = given.split("=")
    for end in range(len(parts) - 1, 0, -1):
        mask, model = "=".join(parts[:end]), "=".join(parts[end:])
        if exists(mask) and model:
            return Path(mask), model
    if len(parts) == 1 or not (parts[0] and parts[1]):
        raise UserError(f"--region {given} must be MASK=MODEL, such as sky.png=museum:the_scream")
    raise FileNotFoundError(f"--region {given}: there is no mask {parts[0]}")
