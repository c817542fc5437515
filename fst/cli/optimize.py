"""`fst optimize`: the Hydra entry of Gatys' method, which optimises the picture itself."""

from collections.abc import Collection
from importlib import resources

from fst.cli.hydra_command import Command, run
from fst.cli.overrides import choices, quote_path, quote_paths, split_paths
from fst.config import OptimizeConfig
from fst.models.model_name import exists

USAGE = """
Optimise a picture itself until it has the style of another (Gatys et al. 2016): slow, no training.

fst optimize content=photo.jpg style=painting.jpg
fst optimize content=photo.jpg style=[painting.jpg,other.jpg] style_shares=[2,1] size_px=1024
fst optimize -m content=photo.jpg style=painting.jpg loss.style_weight=2,5,10
"""


def main() -> None:
    """Run the optimisation with the overrides of the command line; exit 2 on a mistake in them."""
    run(COMMAND)


def expand(override: str) -> list[str]:
    """Return an override as Hydra takes it: paths are quoted, and the style is a list.

    `style=A` is one picture or folder, `style=[A,B]` several, and `style=A,B` a sweep over either.
    The name of a style in `conf/style/` means its picture.
    """
    key, _, value = override.partition("=")
    if key not in ("style", "styles") or not value:
        return [quote_paths(override)]
    if value[0] == "[" and value[-1] == "]" and not exists(value):
        return [f"styles=[{','.join(map(_picture, split_paths(value[1:-1])))}]"]
    return ["styles=" + ",".join(f"[{_picture(style)}]" for style in split_paths(value))]


def _picture(style: str) -> str:
    if style in choices("style") and not exists(style):
        style = str(resources.files("fst.conf") / "style" / f"{style}.jpg")
    return quote_path(style)


def _optimize(config: OptimizeConfig, _: Collection[str]) -> int:
    from fst.gatys.optimization import optimize  # torch: imported once the configuration is good

    return optimize(config, console=True)


COMMAND = Command(
    name="optimize",
    usage=USAGE,
    groups=("loss", "loss_network"),
    expand=expand,
    action=_optimize,
)
