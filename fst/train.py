"""`fst train`, `python -m fst.train`, `torchrun -m fst.train`: the Hydra entry of training.

fst train style=painting.jpg data.path=photographs/
fst train style=painting.jpg data.path=photographs/ experiment=quick
fst train -m style=painting.jpg data.path=photographs/ loss.style_weight=2,5,10
torchrun --nproc_per_node=4 -m fst.train style=painting.jpg data.path=photographs/
"""

import os
import re
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fst.config import TrainConfig, refuse_unknown, register_schemas, unknown_key
from fst.errors import one_line, one_line_errors

register_schemas()


def main() -> None:
    """Run training with the overrides of the command line; exit 2 on a mistake in them."""
    # Hydra prints its own errors over several lines and exits with 1, unless told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = [expanded for given in sys.argv[1:] for expanded in expand_style(given)]
    with one_line_errors("fst train"):
        try:
            _compose_and_train()
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(_explain(error)) from error


def expand_style(override: str) -> list[str]:
    """Turn `style=PICTURE` into `style=picture style.picture=PICTURE`; leave the rest alone.

    A style that is no name in `conf/style/` is a picture; a list of pictures sweeps over them.
    """
    key, _, value = override.partition("=")
    known = {
        file.name.removesuffix(".yaml")
        for file in (resources.files("fst.conf") / "style").iterdir()
    }
    if key != "style" or not value or value in known:
        return [override]
    pictures = [value] if Path(value).exists() else value.split(",")
    if all(picture in known for picture in pictures):
        return [override]
    quoted = ",".join("'" + picture.replace("'", r"\'") + "'" for picture in pictures)
    return ["style=picture", f"style.picture={quoted}"]


@hydra.main(version_base="1.3", config_path="pkg://fst.conf", config_name="train")
def _compose_and_train(composed: DictConfig) -> None:
    # Caught here already, or Hydra prints a line of its own first.
    with one_line_errors("fst train"):
        try:
            config = OmegaConf.to_object(composed)
        except OmegaConfBaseException as error:
            raise ValueError(_explain(error)) from error
        assert isinstance(config, TrainConfig)
        refuse_unknown(config)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            config.name = sweep_name(str(config.name), HydraConfig.get().overrides.task)

        from fst.training import train  # torch: imported once the configuration is known to be good

        stopped_by = train(config, console=True)
    if stopped_by:
        sys.exit(128 + stopped_by)


def sweep_name(name: str, overrides: Sequence[str]) -> str:
    """Return the name of one run of a sweep: the common one, and its overrides but for paths."""
    told = [override for override in overrides if "/" not in override and "style=" not in override]
    return "/".join([name, *filter(None, [",".join(told)])])


def _explain(error: BaseException) -> str:
    """Say in one plain line what Hydra or OmegaConf say in several."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    lines = [one_line(cause) for cause in causes]
    text = next((line for line in reversed(lines) if "full_key" in line), lines[0])
    text = re.sub(r"\s*(object_type=|reference_type=|Config search path:|See https:).*", "", text)
    text, _, key = text.partition(" full_key: ")
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
        return unknown_key(key)
    return f"{key}: {text}" if key else text


if __name__ == "__main__":
    main()
