"""`fst train`, `python -m fst.train`, `torchrun -m fst.train`: the Hydra entry of training."""

from collections.abc import Collection
from pathlib import Path

from fst.config import TrainConfig
from fst.errors import UserError
from fst.training.overrides import Command, choices, quote_paths, quoted, run

USAGE = """
Train a network on the style of a picture, or of several pictures; the same command again resumes
a stopped run.

fst train style=painting.jpg data.path=photographs/
fst train style=painting.jpg data.path=photographs/ experiment=quick
fst train styles=paintings/ data.path=photographs/
fst train any=paintings/ data.path=photographs/
fst train -m style=painting.jpg data.path=photographs/ loss.style_weight=2,5,10
torchrun --nproc_per_node=4 -m fst.train style=painting.jpg data.path=photographs/
"""
_PATHS = (
    "data.path",
    "data.heldout_path",
    "init",
    "loss_network.weights",
    "name",
    "runs_dir",
    "style.heldout_path",
    "style.path",
    "style.picture",
    "style.title",
)
"""Keys whose values may contain characters that mean something in Hydra's grammar."""


def main() -> None:
    """Run training with the overrides of the command line; exit 2 on a mistake in them."""
    run(COMMAND)


def expand(override: str) -> list[str]:
    """Return an override as Hydra takes it: `style=PICTURE` is two, and paths are quoted.

    So is `styles=FOLDER` or `styles=[PICTURE,PICTURE]`, for one network of several styles, and
    `any=FOLDER`, for one that takes any painting. A style without a file of that name in
    `conf/style/` is a picture.

    Raises:
        UserError: the list of styles holds both names and pictures.
        FileNotFoundError: the style is neither.
    """
    key, _, value = override.partition("=")
    if key == "any" and value:
        return ["style=any", quote_paths(f"style.path={value}", _PATHS)]
    if key == "styles" and value:
        listed = [value] if Path(value).exists() else value.strip("[]").split(",")
        pictures = ",".join(quoted(path.strip()) for path in listed)
        return ["style=pictures", f"style.pictures=[{pictures}]"]
    names = choices("style")
    if key != "style" or not value or value in names:
        return [quote_paths(override, _PATHS)]
    chosen = [value] if Path(value).exists() else value.split(",")
    if all(one in names for one in chosen):
        return [override]
    if len(chosen) > 1 and any(one in names for one in chosen):
        raise UserError(f"style={value} mixes names and pictures; sweep over either")
    if len(chosen) == 1 and not Path(value).suffix and not Path(value).exists():
        raise FileNotFoundError(
            f"style={value} is neither a picture nor one of conf/style/: {', '.join(names)}"
        )
    return ["style=picture", quote_paths(f"style.picture={value}", _PATHS)]


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


if __name__ == "__main__":
    main()
