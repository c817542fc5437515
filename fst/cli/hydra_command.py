"""What the commands with Hydra's `key=value` settings share: flags, help, errors, sweeps."""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fst.cli.overrides import check_override, choices, sweep_name, sweeps, swept_keys
from fst.config import likely_keys, refuse_unknown, register_schemas, unknown_key
from fst.errors import TrainingStoppedError, UserError, one_line, one_line_errors
from fst.terminal import say

register_schemas()

HYDRA_FLAGS = (
    "--config-dir", "--config-name", "--config-path", "--experimental-rerun", "--hydra-help",
    "--info", "-i", "--package", "-p", "--run", "-r", "--shell-completion", "-sc", "--version",
)  # fmt: skip
"""The flags of Hydra's own commands that fst's do not take."""


@dataclass(frozen=True)
class Command:
    """A command with `key=value` settings."""

    name: str
    """That of its configuration in `conf/` and of its schema."""
    usage: str
    """What it does, with examples: the head of its help."""
    groups: Sequence[str]
    """The configuration groups that it takes, in the order of its help."""
    expand: Callable[[str], list[str]]
    """Turns an override of the command line into those that Hydra takes."""
    action: Callable[[Any, Collection[str]], int | None]
    """Is given each composed configuration (several in a sweep) and the keys that are swept over;
    returns the number of the signal that stopped it, if one did."""
    placeholders: Sequence[str] = ()
    """Overrides without which no configuration can be shown: required choices of a group."""


def run(command: Command) -> None:
    """Run a command with the overrides of `sys.argv`; exit 2 on a mistake in them."""
    less_memory = "lower the picture size or the batch size in the configuration, or use the CPU"
    # Otherwise Hydra prints its own errors over several lines and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    title = f"fst {command.name}"

    with one_line_errors(title, less_memory):
        given = arguments(command, sys.argv[1:])
        sys.argv[1:] = given

    @hydra.main(version_base="1.3", config_path="pkg://fst.conf", config_name=command.name)
    def compose_and_act(composed: DictConfig) -> None:
        # Errors are caught in here, because Hydra would print a line of its own first. A launcher
        # may run this in another process, whose sys.argv is its own.
        with one_line_errors(title, less_memory):
            try:
                config: Any = OmegaConf.to_object(composed)
            except OmegaConfBaseException as error:
                raise UserError(_explain(error, command.name)) from error
            refuse_unknown(config, command.name)
            swept: list[Override] = []
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                swept = sweeps(given)
                task = HydraConfig.get().overrides.task
                config.name = sweep_name(str(config.name), given, task)
                if os.environ.get("RANK", "0") == "0":
                    runs = math.prod(len(list(o.sweep_string_iterator())) for o in swept)
                    number = HydraConfig.get().job.num + 1
                    say(f"run {number} of {runs}: {config.name}")
            stopped_by = command.action(config, swept_keys(given) if swept else set())
        if stopped_by:
            sys.exit(128 + stopped_by)

    with one_line_errors(title, less_memory):
        try:
            compose_and_act()
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_explain(error, command.name)) from error
        except RuntimeError as error:
            if type(error).__module__ != "submitit.core.utils":  # an extra, not imported for this
                raise
            said = [line for line in str(error).splitlines() if line.startswith(f"{title}: ")]
            why = said[-1].removeprefix(f"{title}: ") if said else one_line(error)
            raise TrainingStoppedError(
                f"a run of the sweep failed: {why}; the same command resumes the others"
            ) from error


def arguments(command: Command, given: Sequence[str]) -> list[str]:
    """Return a command line's arguments as Hydra takes them; print the head of the help if asked.

    Hydra sees no flag but these: others of its own load pickles and configurations from elsewhere.

    Raises:
        UserError: a flag or setting is unknown; the message says how the setting is written.
    """

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; `fst {command.name} --help` shows how settings are written")

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--resolve", action="store_true")
    parser.error = refuse  # type: ignore[method-assign]
    flags, settings = parser.parse_known_args(given)
    if unknown := [setting for setting in settings if setting.startswith("-")]:
        raise UserError(_as_setting(unknown[0], given, command.name))
    shown = "job" if flags.help else flags.cfg
    if shown and flags.multirun:
        refuse("-m runs several configurations, and --cfg shows one: leave out either")
    if flags.resolve and not shown:
        refuse("--resolve belongs to --cfg")

    overrides = [one for setting in settings for one in as_hydra(setting, command)]
    if flags.help:
        say(*_help(command).split("\n"))
    if shown:
        chosen = {override.partition("=")[0] for override in overrides}
        overrides += [o for o in command.placeholders if o.partition("=")[0] not in chosen]
        overrides = ["--cfg", shown, *(["--resolve"] if flags.resolve else []), *overrides]
    return [*(["--multirun"] if flags.multirun else []), *overrides]


def as_hydra(setting: str, command: Command) -> list[str]:
    """Return a setting as its user writes it in Hydra's grammar, in which it may be several.

    Raises:
        UserError: there is no such setting or choice, or the value cannot be read.
    """
    if setting.startswith("~"):
        raise UserError(f"{setting}: settings cannot be removed, only changed by key=value")
    key, equals, _ = setting.partition("=")
    if not equals or not key:
        raise UserError(f"cannot read {setting or repr(setting)} as key=value")
    # Hydra's + and ++ add what a configuration lacks: only a launcher's can grow.
    own = setting if "hydra" in key else setting.lstrip("+")
    return [check_override(each, command.name, command.groups) for each in command.expand(own)]


def _as_setting(flag: str, given: Sequence[str], command: str) -> str:
    """Return a line that shows an unknown flag written as a setting."""
    name, _, value = flag.partition("=")
    if name in HYDRA_FLAGS:
        return f"Hydra's {name} is not taken: the flags are -m, --cfg and --help"
    following = given[given.index(flag) + 1 :][:1]
    if not value and following and not following[0].startswith("-") and "=" not in following[0]:
        value = following[0]
        flag = f"{flag} {value}"
    keys = likely_keys(name.lstrip("-").replace("-", "_"), command)
    meant = " or ".join(f"{key}={value or 'VALUE'}" for key in keys) or "key=value"
    return f"{flag} is not a flag: settings are written without dashes, here {meant}"


def _help(command: Command) -> str:
    named = {group.rpartition("/")[2]: choices(group) for group in command.groups}
    width = max(map(len, named))
    lines = [f"  {group:{width}}  {', '.join(names)}" for group, names in named.items()]
    return "\n".join(
        [
            command.usage.strip(),
            "",
            "Groups, each chosen by GROUP=NAME:",
            *lines,
            "",
            "Flags:",
            "  -m         runs each of several values (loss.style_weight=2,5) in turn, or at once:",
            "             hydra/launcher=joblib on one machine, submitit_slurm on a Slurm cluster",
            "  --cfg job  prints the settings that would be used",
            "",
            "Settings, each changed by KEY=VALUE (network.width=64); ??? is required:",
            "",
        ]
    )


def _explain(error: BaseException, command: str) -> str:
    """Return in one plain line what Hydra or OmegaConf say in several."""
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
        r"In '.*': Could not find '([\w/]+)/(.*)' Available options in .*: (.*)", text
    ):
        group, name, known = missing.groups()
        if group == "hydra/launcher" and name.startswith(("joblib", "submitit")):
            return f"{group}={name} needs: pip install 'fst-style-transfer[sweep]'"
        group = group.rpartition("/")[2] if group.startswith("upscaling/") else group
        return f"{group}={name} is unknown; choose one of {known.replace(' ', ', ')}"
    if text.startswith("You must specify 'style'"):
        return "style is required: add style=PICTURE, or style=NAME for one of conf/style/"
    if re.fullmatch(r"Key '\w+' not in '\w+'", text):
        return unknown_key(key, command)
    return f"{key}: {text}" if key else text
