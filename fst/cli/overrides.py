"""The grammar of `key=value` settings: which there are, paths as they are typed, sweeps."""

import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
)
from hydra.errors import HydraException

from fst.config import SCHEMAS, literal, nested_keys, setting_keys, unknown_key
from fst.errors import UserError, one_line
from fst.models.model_name import exists, split_models

PATHS = frozenset(
    {
        "content",
        "data.heldout_path",
        "data.path",
        "init",
        "loss_network.weights",
        "style.heldout_path",
        "style.path",
        "style.picture",
    }
)
"""Keys whose values are paths: nothing in them means anything in Hydra's grammar."""
NEW_PATHS = frozenset({"name", "output", "runs_dir"})
"""Keys whose values are paths that need not exist: a comma is a part of them."""
LISTS_OF_PATHS = frozenset({"style.pictures", "style.works", "styles"})
"""Keys whose values are lists of paths."""
TEXTS = frozenset({"data.files", "data.image_column", "style.title"})
"""Keys whose values are any text: a pattern, a name."""
_LAUNCHER = "hydra/launcher"
_MAX_COMMAS = 20
_DEEPEST = 10


def check_override(override: str, command: str, groups: Sequence[str]) -> str:
    """Return an override that Hydra can compose a configuration with.

    Args:
        override: in Hydra's grammar.
        command: whose settings it may change.
        groups: the command's groups, each with its folder in `conf/`.

    Raises:
        UserError: there is no such setting or choice, or the value cannot be read.
    """
    key, _, given = override.partition("=")
    if key == _LAUNCHER or key.lstrip("+").startswith("hydra.launcher."):
        value = _parse(override).value()
        if key == _LAUNCHER and not isinstance(value, str):
            raise UserError(f"{override} does not name a launcher")
        return override
    if key.lstrip("+").partition(".")[0].partition("/")[0] == "hydra":
        raise UserError(
            f"{key} cannot be set: of Hydra's own settings there are {_LAUNCHER} and "
            "hydra.launcher.KEY"
        )
    by_key = {
        f"{group}@{group.rpartition('/')[2]}" if "/" in group else group: group for group in groups
    }
    if key in by_key:
        known = choices(by_key[key])
        if any(name not in known for name in _choices_in(_parse(override))):
            raise UserError(
                f"{plain_key(key)}={given} is unknown; choose one of {', '.join(known)}"
            )
    elif key in nested_keys(command):
        raise UserError(f"{key} is a group of settings: set one of them, {key}.KEY=VALUE")
    elif key not in setting_keys(command):
        raise UserError(unknown_key(key, command))
    else:
        _parse(override)
    return override


def _parse(override: str) -> Override:
    """Return what an override says; raise UserError if it is not in Hydra's grammar."""
    shown = override if len(override) < 80 else f"{override[:80]}..."
    if re.search(r"[=,[][-+]?\d{300}", override):  # more than Python's floats, and ints, have
        raise UserError(f"{shown} is a number of more than 300 digits")
    try:
        parsed = OverridesParser.create().parse_override(override)
    except (HydraException, RecursionError) as error:  # RecursionError: a thousand brackets
        raise UserError(
            f"cannot read {shown} as key=value: {one_line(error)}; quote a value that is not a "
            "plain word"
        ) from error
    value = parsed.value()
    if isinstance(value, Glob | IntervalSweep):
        raise UserError(f"{shown}: name the values of a sweep, separated by commas")
    if _nesting(value) > _DEEPEST:
        raise UserError(f"{shown} is nested too deeply")
    return parsed


def _nesting(value: object) -> int:
    """Return how deeply lists and dicts are nested."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_nesting, value), default=0) if isinstance(value, list) else 0


def _choices_in(override: Override) -> list[str | None]:
    """Return the names that a group is set to; None for a value that is not a name."""
    value = override.value()
    values = value.list if isinstance(value, ChoiceSweep) else value
    texts = [
        one.text if isinstance(one, QuotedString) else one
        for one in (values if isinstance(values, list) else [values])
    ]
    return [text if isinstance(text, str) else None for text in texts]


def quote_paths(override: str) -> str:
    """Return an override with its value quoted if its key is one of those that hold paths or text.

    A path may contain characters that mean something in Hydra's grammar. A path that does not exist
    and contains commas is a list to sweep over.
    """
    key, _, value = override.partition("=")
    if value in ("", "null"):
        return override
    if key in TEXTS:
        return f"{key}={_quote(_unquote(value))}"
    if key in LISTS_OF_PATHS:
        return f"{key}={quote_list(value)}"
    if key in NEW_PATHS:
        return f"{key}={quote_path(_unquote(value))}"
    if key not in PATHS:
        return override
    paths = split_models(value) if key == "init" and value[0] not in "'\"" else split_paths(value)
    return f"{key}={','.join(map(quote_path, paths))}"


def quote_list(value: str) -> str:
    """Return `[PATH,PATH]`, or a single path, as a list in Hydra's grammar."""
    inner = value[1:-1] if value[0] == "[" and value[-1] == "]" and not exists(value) else value
    return f"[{','.join(map(quote_path, split_paths(inner)))}]"


def split_paths(value: str) -> list[str]:
    """Return the paths of a comma-separated list, in which some may be quoted.

    A comma in quotes, or in the name of a file that exists, separates nothing.
    """
    if "," not in value or exists(value):
        return [_unquote(value)]
    parts = value.split(",")
    paths = []
    while parts:
        most = min(len(parts), _MAX_COMMAS)
        joined = ((count, ",".join(parts[:count]).strip()) for count in range(most, 0, -1))
        count, path = next(
            (
                (count, _unquote(path))
                for count, path in joined
                if exists(path) or _unquote(path) != path
            ),
            (1, parts[0].strip()),
        )
        paths.append(path)
        del parts[:count]
    return paths


def _unquote(text: str) -> str:
    """Return what Hydra's grammar takes a text in quotes for, and any other text as it is."""
    if text[:1] not in ("'", '"') or exists(text):
        return text
    with suppress(Exception):  # not in quotes after all
        value = OverridesParser.create().parse_override(f"key={text}").value()
        if isinstance(value, str):  # not a list of several
            return value
    return text


def is_folder(path: str) -> bool:
    """Say whether there is a folder of that name, in which `~` may stand for the home folder."""
    with suppress(OSError, RuntimeError):  # too long for a name; ~ of a user that there is not
        return Path(path).expanduser().is_dir()
    return False


def quote_path(path: str) -> str:
    """Return a path, quoted for Hydra's grammar, with `~` expanded."""
    with suppress(RuntimeError):  # ~ of a user that there is not: a name like any other
        path = str(Path(path).expanduser())
    return _quote(path)


def _quote(text: str) -> str:
    return QuotedString(literal(text), Quote.single).with_quotes()


def choices(group: str) -> list[str]:
    """Return the names of a group's choices: its schemas, and its files in `conf/`."""
    folder = resources.files("fst.conf") / group
    files = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    named = {file.removesuffix(".yaml") for file in files if file.endswith(".yaml")}
    return sorted(named | {Path(path).name for path in SCHEMAS if path.startswith(f"{group}/")})


def sweep_name(name: str, given: Sequence[str], task: Sequence[str]) -> str:
    """Return the name of one run of a sweep: the common name, then the run's own values.

    Args:
        name: the common name; that of each style, if styles are swept over.
        given: the command line's overrides.
        task: this run's.
    """
    overrides = _overrides(given)
    named = swept_keys(given)
    if not any(o.key_or_group == "name" for o in overrides):
        named -= {"style", "styles", "content"}  # the common name has them
        for override in overrides:
            key, styles = override.key_or_group, override.value()
            if key in ("style.picture", "style.works") and isinstance(styles, ChoiceSweep):
                files = [style[0] if isinstance(style, list) else style for style in styles.list]
                stems = [Path(str(getattr(file, "text", file))).stem for file in files]
                if len(set(stems)) == len(stems):
                    named -= {key}
    parts = []
    for key, _, value in (override.partition("=") for override in task):
        if plain_key(key) in named:
            key = plain_key(key)
            plain = re.sub(r"[/\\]", "_", _unquote(value))
            parts.append(f"{key}={plain}")
    return "/".join([name, *filter(None, ["+".join(parts)])])


def _overrides(given: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides([o for o in given if o[0] != "-"])


def sweeps(given: Sequence[str]) -> list[Override]:
    """Return the overrides of a command line that have several values."""
    return [override for override in _overrides(given) if override.is_sweep_override()]


def swept_keys(given: Sequence[str]) -> set[str]:
    """Return the keys and groups that a command line sweeps over, as its user writes them."""
    return {plain_key(override.get_key_element()) for override in sweeps(given)}


def plain_key(key: str) -> str:
    """Return `network` for `upscaling/network@network`, which is how Hydra takes it."""
    return key.rpartition("@")[2]
