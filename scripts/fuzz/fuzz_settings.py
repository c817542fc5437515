"""Give the commands with Hydra's settings odd ones, at random and seeded; report what happened.

python scripts/fuzz/fuzz_settings.py 2000

A sound command line of `fst train`, `fst train-upscaler` or `fst optimize` gets one to three
odd settings and perhaps a flag. Expected is a configuration or one line that says what is wrong;
anything else is a bug, printed with the number that repeats it. Nothing is trained.
"""

import dataclasses
import io
import random
import sys
import tempfile
from collections.abc import Collection
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fuzzing import Tally, from_command_line
from PIL import Image

from fst.cli import optimize, train, train_upscaler
from fst.cli.hydra_command import Command, run
from fst.config import nested_keys, setting_keys
from fst.errors import UserError

SOUND = {
    train.COMMAND: ["style=style.png", "data.path=photographs"],
    train_upscaler.COMMAND: ["data.path=photographs"],
    optimize.COMMAND: ["content=style.png", "style=style.png"],
}
"""Settings that each command can run with."""
OTHER_KEYS = (
    "", "any", "experiment", "hydra", "hydra.callbacks", "hydra.job", "hydra.launcher",
    "hydra.launcher.n_jobs", "hydra.mode", "hydra.searchpath", "hydra.sweep", "hydra/launcher",
    "hydra/sweeper", "network@_global_", "nowhere", "picture_weights", "style", "styles",
    "upscaling/loss@loss", "data.path.x", "a..b", "a b", "=",
)  # fmt: skip
"""Keys besides those of the settings."""
VALUES = (
    "", "null", "true", "1", "-1", "0.5", "abc", "[]", "[1]", "[null]", "[a,b]", "{}", "{a:1}",
    "{a:{b:[1]}}", "nan", "inf", "-inf", "1e300", "1e-320", "9" * 30, "9" * 400, "9" * 5000,
    "[" + "9" * 5000 + "]", "-" + "9" * 5000, "[" * 300, "[" * 300 + "]" * 300, "x" * 300, "1,2",
    "null,1", "fast,johnson", "a.jpg,b.jpg", "choices(1,2)", "range(1,3)", "interval(0,1)",
    "glob(*)", "int(a)", "sort(2,1)", "tag(x,1)", "shuffle(1,2)", "${seed}", "${nowhere}", "${",
    "${}", "${oc.env:HOME}", "${oc.decode:x}", "price ${5}.jpg", "C:\\", "\\\\nas\\photographs",
    "'", '"', "'a", "'a' 'b'", "it's", "~", "~nobody/x", "/", "..", "\udcff", "é", "a\nb", "%s",
)  # fmt: skip
"""What a setting may hold in the place of a sound value."""
FLAGS = (
    "-m", "--multirun", "--cfg", "--cfg=job", "--resolve", "-x", "--", "-", "--style", "--info",
    "--run", "--package=a", "--config-dir=.", "--config-path=.", "--config-name=optimize",
    "--experimental-rerun=x", "--exp=x", "--hydra-help", "--shell-completion", "--version",
)  # fmt: skip
"""Flags that are taken, that are Hydra's own, and that there are not."""


def command_line(chance: random.Random) -> tuple[Command, list[str]]:
    """Return a command and odd arguments for it."""
    command = chance.choice([*SOUND])
    keys = sorted(setting_keys(command.name)) + sorted(nested_keys(command.name))
    arguments = list(SOUND[command])
    for _ in range(chance.choice((1, 1, 2, 3))):
        key = chance.choice(keys if chance.random() < 0.7 else OTHER_KEYS)
        prefix = chance.choices(("", "+", "++", "~"), (9, 1, 1, 1))[0]
        arguments.append(f"{prefix}{key}={chance.choice(VALUES)}")
    if chance.random() < 0.4:
        flag = "-m" if chance.random() < 0.5 else chance.choice(FLAGS)
        arguments.insert(chance.randrange(len(arguments) + 1), flag)
    return command, arguments


def compose(command: Command, arguments: list[str]) -> None:
    """Do what a command does up to its action.

    Raises:
        UserError: it ended with one line on stderr.
    """

    def act(config: Any, swept: Collection[str]) -> None:
        assert config.name, "a run without a name"

    out, err = io.StringIO(), io.StringIO()
    status: Any = 0
    with patch("sys.argv", ["fst", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            run(dataclasses.replace(command, action=act))
        except SystemExit as end:
            status = end.code
    line = err.getvalue()
    if status == 2 and line.count("\n") == 1 and line.startswith(f"fst {command.name}: "):
        raise UserError(line)
    assert not status and not line, f"status {status}: {line}"


def fuzz(count: int, seed: int = 0, first: int = 0) -> Tally:
    """Try this many command lines, from number `first` on."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name, chdir(name):
        Path("photographs").mkdir()
        Image.new("RGB", (8, 8)).save("style.png")
        for number in range(first, first + count):
            command, arguments = command_line(random.Random(f"{seed}/{number}"))
            label = ascii(" ".join([command.name, *arguments]))[:300]
            tally.count(f"seed {seed}, {number} ({label})", partial(compose, command, arguments))
    return tally


if __name__ == "__main__":
    sys.exit(from_command_line(__doc__, fuzz, "command line", "command lines"))
