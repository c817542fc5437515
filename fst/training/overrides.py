"""What the commands that take Hydra's `key=value` have in common: grammar, errors, sweeps."""

import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fst.cache import keep_compiled
from fst.config import refuse_unknown, register_schemas, unknown_key
from fst.errors import UserError, one_line, one_line_errors

register_schemas()


def run(
    command: str, expand: Callable[[str], list[str]], action: Callable[[Any], int | None]
) -> None:
    """Run a command with the overrides of `sys.argv`; exit 2 on a mistake in them.

    Args:
        command: its name: that of its configuration in `conf/` and of its schema.
        expand: turns an override of the command line into those that Hydra takes.
        action: is given each composed configuration (several in a sweep) and returns the number of
            the signal that stopped it, if one did.
    """
    less_memory = "lower the picture size or the batch size in the configuration, or use the CPU"
    keep_compiled()
    # Hydra prints its own errors over several lines and exits with 1, unless told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    @hydra.main(version_base="1.3", config_path="pkg://fst.conf", config_name=command)
    def compose_and_act(composed: DictConfig) -> None:
        # Caught here already, or Hydra prints a line of its own first.
        with one_line_errors(f"fst {command}", less_memory):
            try:
                config: Any = OmegaConf.to_object(composed)
            except OmegaConfBaseException as error:
                raise UserError(_explain(error, command)) from error
            refuse_unknown(config, command)
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                task = HydraConfig.get().overrides.task
                config.name = sweep_name(str(config.name), sys.argv[1:], task)
            stopped_by = action(config)
        if stopped_by:
            sys.exit(128 + stopped_by)

    with one_line_errors(f"fst {command}", less_memory):
        sys.argv[1:] = [expanded for given in sys.argv[1:] for expanded in expand(given)]
        try:
            compose_and_act()
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_explain(error, command)) from error


def quote_paths(override: str, keys: Collection[str]) -> str:
    """Return an override with its value quoted if its key is one of those that hold paths.

    A path may hold what Hydra's grammar gives a meaning of its own. One that does not exist as it
    stands but has commas is a list to sweep over.
    """
    key, _, value = override.partition("=")
    if key not in keys or value in ("", "null") or value[0] in "'\"":
        return override
    paths = [value] if Path(value).exists() or "," not in value else value.split(",")
    return f"{key}={','.join(quoted(path) for path in paths)}"


def quoted(path: str) -> str:
    """Return a path as Hydra's grammar takes it whatever it holds, `~` expanded."""
    return "'" + str(Path(path).expanduser()).replace("'", r"\'") + "'"


def choices(group: str) -> list[str]:
    """Return the names of a group's configurations in `conf/`."""
    files = (resources.files("fst.conf") / group).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def sweep_name(name: str, given: Sequence[str], task: Sequence[str]) -> str:
    """Return the name of one run of a sweep: the common one, and what is its own.

    Args:
        name: the common one; that of each style, if styles are swept over.
        given: the command line's overrides.
        task: this run's.
    """
    overrides = OverridesParser.create().parse_overrides([o for o in given if o[0] != "-"])
    told = {o.key_or_group for o in overrides if o.is_sweep_override()}
    if not any(o.key_or_group == "name" for o in overrides):
        told -= {"style", "styles", "content"}  # the common name has them
        styles = next((o.value() for o in overrides if o.key_or_group == "style.picture"), None)
        if isinstance(styles, ChoiceSweep):
            stems = [Path(str(getattr(style, "text", style))).stem for style in styles.list]
            if len(set(stems)) == len(stems):
                told -= {"style.picture"}
    parts = []
    for key, _, value in (override.partition("=") for override in task):
        if key in told:
            plain = value.strip("'").replace("/", "_")
            parts.append(f"{key}={plain}")
    return "/".join([name, *filter(None, ["+".join(parts)])])


def _explain(error: BaseException, command: str) -> str:
    """Say in one plain line what Hydra or OmegaConf say in several."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    lines = [one_line(cause) for cause in causes]
    text = next((line for line in reversed(lines) if "full_key" in line), lines[0])
    text = re.sub(r"\s*(object_type=|reference_type=|Config search path:|See https:).*", "", text)
    text, _, key = text.partition(" full_key: ")
    if "sweep" in text and "multirun" in text:
        return "a list of values is a sweep: add -m, or quote the value if it is one"
    if "missing mandatory value" in text:
        return f"{key} is required: add {key}=..."
    if missing := re.match(
        r"In '.*': Could not find '(\w+)/(.*)' Available options in .*: (.*)", text
    ):
        group, name, known = missing.groups()
        return f"{group}={name} is unknown; choose one of {known.replace(' ', ', ')}"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} can't be read as key=value: {text}; quote what is not a plain word"
        )
    if text.startswith("You must specify 'style'"):
        return "style is required: add style=PICTURE, or style=NAME for one of conf/style/"
    if re.fullmatch(r"Key '\w+' not in '\w+'", text):
        return unknown_key(key, command)
    return f"{key}: {text}" if key else text
