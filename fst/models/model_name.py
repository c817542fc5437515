"""The grammar of models' names: `MODEL`, `MODEL:STYLE` and `MODEL:STYLE=SHARE,STYLE=SHARE`."""

import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path

from fst.errors import NoStyleChosenError, UserError
from fst.report import few


def split_style(name_or_path: str | Path) -> tuple[str, str]:
    r"""Return a model's name or path, and the style that is chosen of it, or an empty string.

    An existing path is a path whatever it contains. Otherwise the colon before an existing path
    separates, or else the last, but for those of drives, as in `C:\models\a.safetensors`.
    """
    given = str(name_or_path)
    colons = [
        match.start()
        for match in re.finditer(":", given)
        if not re.fullmatch(r"(.*[:,])?[A-Za-z]:[/\\]", given[: match.start() + 2])
    ]
    if not colons or exists(given):
        return given, ""
    at = colons[-1]
    if len(colons) > 1:  # a painting's name may have colons of its own
        at = next((colon for colon in colons if exists(given[colon + 1 :])), at)
    return given[:at], given[at + 1 :]


def exists(path: str) -> bool:
    """Say whether there is a file or folder of that name."""
    try:
        return bool(path) and Path(path).exists()
    except OSError:  # too long for a name
        return False


def refuse_style(path: Path, style: str) -> None:
    """Raise UserError if a style is chosen from a model that has only one."""
    if style:
        raise UserError(f"{path} has one style: leave out :{style}")


def split_models(names_or_paths: str) -> list[str]:
    """Return the names of comma-separated models; an existing path is one, whatever it contains.

    So is an existing path behind a model's name. A part `STYLE=SHARE` belongs to the blend before.
    """
    if "," not in names_or_paths:
        return [names_or_paths]
    if exists(names_or_paths) or exists(split_style(names_or_paths)[1]):
        return [names_or_paths]
    names: list[str] = []
    for part in names_or_paths.split(","):
        if names and ":" in names[-1] and re.fullmatch(r"([A-Za-z]:[/\\])?[^:=]+=[^=]*", part):
            names[-1] += f",{part}"
        else:
            names.append(part)
    return names


def chosen_shares(
    path: Path, styles: Sequence[str], choice: str, predicts: bool = False
) -> dict[str, float]:
    """Return the share of each style in a choice, `NAME` or `NAME=SHARE,NAME=SHARE`.

    They add up to 1.

    Args:
        path: the model.
        styles: the names of its styles.
        choice: what follows the model's name.
        predicts: whether a picture, or a folder of pictures, is a style as well.

    Raises:
        NoStyleChosenError: nothing is chosen.
        UserError: a style is unknown, or the shares are not numbers of at least
            0, one of them more.
    """
    if not choice:
        raise NoStyleChosenError(_nothing_chosen(path, styles, predicts))
    shares: dict[str, float] = {}
    is_picture = predicts and choice not in styles and exists(choice)
    parts = [choice] if is_picture else choice.split(",")
    for part in parts:
        name, equals, number = (choice, "", "") if is_picture else part.partition("=")
        if name not in styles and not (is_picture or (predicts and exists(name))):
            close = difflib.get_close_matches(name, styles)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {few(styles)}"
            no_file = ", and there is no such file or folder" if predicts else ""
            raise UserError(f"{path} has no style {name}{no_file}{f': {hint}' if styles else ''}")
        try:
            share = float(number) if equals else 1.0
        except ValueError:
            share = math.nan
        if not 0 <= share < math.inf or (len(parts) > 1 and not equals):
            raise UserError(f"{part}: the share must be a number of at least 0, as in {name}=0.7")
        shares[name] = shares.get(name, 0.0) + share
    if not (largest := max(shares.values())):
        raise UserError(f"{choice}: at least one share must be above 0")
    relative = {name: share / largest for name, share in shares.items() if share}
    return {name: share / sum(relative.values()) for name, share in relative.items()}


def _nothing_chosen(path: Path, styles: Sequence[str], predicts: bool) -> str:
    if predicts:
        also = f", or one of {', '.join(styles)}" if styles else ""
        either = f"{path}:PAINTING.jpg, or {path}:FOLDER for what the paintings in it share"
        return f"{path} takes any painting as its style: {either}{also}"
    return (
        f"{path} has {len(styles)} styles: choose one with {path}:STYLE, or blend several with "
        f":STYLE=0.7,STYLE=0.3; they are {', '.join(styles)}"
    )
