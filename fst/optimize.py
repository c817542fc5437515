"""`fst optimize`: the Hydra entry of Gatys' method, which optimises the picture itself."""

from collections.abc import Collection
from importlib import resources
from pathlib import Path

from fst.config import OptimizeConfig
from fst.training.overrides import Command, choices, quote_paths, quoted, run

USAGE = """
Optimise a picture itself until it has the style of another (Gatys et al. 2016): slow, no training.

fst optimize content=photo.jpg style=painting.jpg
fst optimize content=photo.jpg style=[painting.jpg,other.jpg] style_shares=[2,1] size_px=1024
fst optimize -m content=photo.jpg style=painting.jpg loss.style_weight=2,5,10
"""
_PATHS = ("content", "init", "loss_network.weights", "name", "output", "runs_dir")
"""Keys whose values may contain characters that mean something in Hydra's grammar."""


def main() -> None:
    """Run the optimisation with the overrides of the command line; exit 2 on a mistake in them."""
    run(COMMAND)


def expand(override: str) -> list[str]:
    """Return an override as Hydra takes it: paths are quoted, and the style is a list.

    `style=A` is one picture, `style=[A,B]` several, and `style=A,B` a sweep over either. The name
    of a style in `conf/style/` means its picture.
    """
    key, _, value = override.partition("=")
    if key not in ("style", "styles") or not value:
        return [quote_paths(override, _PATHS)]
    if value[0] == "[" and value[-1] == "]":
        return [f"styles=[{','.join(_picture(style) for style in value[1:-1].split(','))}]"]
    styles = [value] if Path(value).exists() else value.split(",")
    return ["styles=" + ",".join(f"[{_picture(style)}]" for style in styles)]


def _picture(style: str) -> str:
    if style in choices("style") and not Path(style).exists():
        style = str(resources.files("fst.conf") / "style" / f"{style}.jpg")
    return quoted(style.strip(" '\""))


def _optimize(config: OptimizeConfig, _: Collection[str]) -> int:
    from fst.training.optimization import optimize  # torch: imported once the configuration is good

    return optimize(config, console=True)


COMMAND = Command(
    name="optimize",
    usage=USAGE,
    groups=("loss", "loss_network"),
    expand=expand,
    action=_optimize,
)


if __name__ == "__main__":
    main()
