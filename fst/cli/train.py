"""`fst train`: the Hydra entry of training."""

from collections.abc import Collection, Sequence
from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from fst.cli.hydra_command import Command, as_hydra, run
from fst.cli.overrides import choices, is_folder, quote_list, quote_path, quote_paths, split_paths
from fst.config import TrainConfig, refuse_unknown
from fst.errors import UserError
from fst.models.model_name import exists

USAGE = """
Train a network on the style of a picture, or of several pictures; the same command again resumes
a stopped run. style= is one style, of a picture or of several works; styles= a style of each.

fst train style=painting.jpg data.path=photographs/
fst train style=monet/ data.path=photographs/
fst train style=painting.jpg data.path=photographs/ experiment=quick
fst train styles=paintings/ data.path=photographs/
fst train any=paintings/ data.path=photographs/
fst train -m style=painting.jpg data.path=photographs/ loss.style_weight=2,5,10
torchrun --nproc_per_node=4 -m fst train style=painting.jpg data.path=photographs/
"""


def main() -> None:
    """Run training with the overrides of the command line; exit 2 on a mistake in them."""
    run(COMMAND)


def expand(override: str) -> list[str]:
    """Return an override as Hydra takes it: `style=PICTURE` is two, and paths are quoted.

    So is `style=FOLDER` or `style=[PICTURE,PICTURE]`, for one style of several works,
    `styles=FOLDER` or `styles=[PICTURE,PICTURE]`, for one network of several styles, and
    `any=FOLDER`, for one that takes any painting. A style without a file of that name in
    `conf/style/` is a picture.

    Raises:
        UserError: a sweep over styles holds two of names, pictures and folders.
        FileNotFoundError: the style is none of them.
    """
    key, _, value = override.partition("=")
    if key == "any" and value:
        return ["style=any", quote_paths(f"style.path={value}")]
    if key == "styles" and value:
        return ["style=pictures", f"style.pictures={quote_list(value)}"]
    names = choices("style")
    if key != "style" or not value or value in names:
        return [quote_paths(override)]
    if value[0] == "[" and value[-1] == "]" and not exists(value):
        return ["style=works", f"style.works={quote_list(value)}"]
    chosen = split_paths(value)
    if all(one in names for one in chosen):
        return [override]
    if len(chosen) > 1 and any(one in names for one in chosen):
        raise UserError(f"style={value} mixes names and pictures; sweep over either")
    folders = [one for one in chosen if is_folder(one)]
    if folders and len(folders) < len(chosen):
        raise UserError(
            f"style={value} mixes pictures and folders; sweep over either, or pool them all into "
            f"one style, style=[{value}]"
        )
    if folders:
        works = ",".join(f"[{quote_path(folder)}]" for folder in folders)
        return ["style=works", f"style.works={works}"]
    if len(chosen) == 1 and not Path(value).suffix and not exists(value):
        raise FileNotFoundError(
            f"style={value} is neither a picture nor a folder nor one of conf/style/: "
            f"{', '.join(names)}"
        )
    return ["style=picture", quote_paths(f"style.picture={value}")]


def _train(config: TrainConfig, swept: Collection[str]) -> int:
    from fst.training.registry import train  # torch: imported once the configuration is good

    return train(config, console=True, swept=swept)


COMMAND = Command(
    name="train",
    usage=USAGE,
    groups=("style", "network", "loss", "loss_network", "data", "optimizer", "experiment"),
    expand=expand,
    action=_train,
    placeholders=("style=picture",),
)


def compose_training(overrides: Sequence[str]) -> TrainConfig:
    """Return the configuration that `fst train` makes of its overrides."""
    with initialize_config_module("fst.conf", version_base="1.3"):
        expanded = [part for override in overrides for part in as_hydra(override, COMMAND)]
        config = OmegaConf.to_object(compose("train", expanded))
    assert isinstance(config, TrainConfig)
    refuse_unknown(config, COMMAND.name)
    return config
