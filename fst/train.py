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
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fst.config import TrainConfig, refuse_unknown, register_schemas, unknown_key
from fst.errors import one_line, one_line_errors

register_schemas()


_PATHS = (
    "data.path",
    "data.heldout_path",
    "init",
    "loss_network.weights",
    "name",
    "runs_dir",
    "style.picture",
    "style.title",
)
"""Keys whose values may hold what Hydra's grammar gives a meaning of its own."""


def main() -> None:
    """Run training with the overrides of the command line; exit 2 on a mistake in them."""
    # Hydra prints its own errors over several lines and exits with 1, unless told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with one_line_errors("fst train"):
        sys.argv[1:] = [expanded for given in sys.argv[1:] for expanded in expand(given)]
        try:
            _compose_and_train()
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(_explain(error)) from error


def expand(override: str) -> list[str]:
    """Return an override as Hydra takes it: `style=PICTURE` is two, and paths are quoted.

    A style that is no name in `conf/style/` is a picture. A path that does not exist as it stands
    but has commas is a list to sweep over.

    Raises:
        ValueError: the list of styles holds both names and pictures.
    """
    key, _, value = override.partition("=")
    if key in _PATHS and value not in ("", "null"):
        return [f"{key}={_quoted(value)}"]
    names = _choices("style")
    if key != "style" or not value or value in names:
        return [override]
    chosen = [value] if Path(value).exists() else value.split(",")
    if all(one in names for one in chosen):
        return [override]
    if len(chosen) > 1 and any(one in names for one in chosen):
        raise ValueError(f"style={value} mixes names and pictures; sweep over either")
    if len(chosen) == 1 and not Path(value).suffix and not Path(value).exists():
        raise FileNotFoundError(
            f"style={value} is neither a picture nor one of conf/style/: {', '.join(names)}"
        )
    return ["style=picture", f"style.picture={_quoted(value)}"]


def _quoted(value: str) -> str:
    if value[0] in "'\"":
        return value
    paths = [value] if Path(value).exists() or "," not in value else value.split(",")
    return ",".join("'" + str(Path(p).expanduser()).replace("'", r"\'") + "'" for p in paths)


def _choices(group: str) -> list[str]:
    files = (resources.files("fst.conf") / group).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


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
            config.name = sweep_name(
                str(config.name), sys.argv[1:], HydraConfig.get().overrides.task
            )

        from fst.training import train  # torch: imported once the configuration is known to be good

        stopped_by = train(config, console=True)
    if stopped_by:
        sys.exit(128 + stopped_by)


def sweep_name(name: str, given: Sequence[str], task: Sequence[str]) -> str:
    """Return the name of one run of a sweep: the common one, and what is its own.

    Args:
        name: the common one; that of each style, if styles are swept over.
        given: the command line's overrides.
        task: this run's.
    """
    overrides = OverridesParser.create().parse_overrides([o for o in given if o[0] != "-"])
    told = {o.key_or_group for o in overrides if o.is_sweep_override()} - {"style"}
    styles = next((o.value() for o in overrides if o.key_or_group == "style.picture"), None)
    if isinstance(styles, ChoiceSweep):
        stems = [Path(str(getattr(style, "text", style))).stem for style in styles.list]
        if len(set(stems)) == len(stems) and not any(o.key_or_group == "name" for o in overrides):
            told -= {"style.picture"}  # the common name is the style's
    parts = []
    for key, _, value in (override.partition("=") for override in task):
        if key in told:
            plain = value.strip("'").replace("/", "_")
            parts.append(f"{key}={plain}")
    return "/".join([name, *filter(None, ["+".join(parts)])])


def _explain(error: BaseException) -> str:
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
        return unknown_key(key)
    return f"{key}: {text}" if key else text


if __name__ == "__main__":
    main()
