"""The `fst` command: `fst train` hands over to Hydra; the rest takes ordinary flags.

Each command's flags and help come from a function's own signature and docstring. What a command
needs is imported when it runs, so that `fst --help` does not wait for torch.
"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from fst import __version__
from fst.errors import one_line, one_line_errors

app = App(
    name="fst",
    version=__version__,
    help="Train feed-forward neural style transfer networks, and stylize with them in real time.",
    help_format="plaintext",
)


@app.command
def train(*overrides: str) -> None:
    """Train a network on a style: `fst train style=PICTURE data.path=DIR` (Hydra key=value).

    `fst train --help` lists the configuration groups, `fst train style=PICTURE data.path=DIR
    --cfg job` shows every setting.
    """
    raise AssertionError("main() hands this command over before flags are parsed")


@app.command
def stylize(
    model: str,
    *pictures: Path,
    output: Annotated[Path, Parameter(alias="-o")],
    device: str = "auto",
) -> None:
    """Stylize pictures with a trained model.

    Args:
        model: A model file, a run folder or the name of a released model.
        pictures: The pictures to stylize.
        output: A file, or a folder when there are several pictures.
        device: cuda, cpu ...; auto takes CUDA where there is one.
    """
    from fst.stylize import stylize_files

    if not pictures:
        raise ValueError("no picture to stylize: fst stylize MODEL PICTURE... -o OUT")
    for picture, result in stylize_files(model, pictures, output, device):
        print(f"{picture} -> {result}")


def main() -> None:
    """Run the command of `sys.argv`; a mistake in it is one line on stderr and exit status 2."""
    if sys.argv[1:2] == ["train"]:
        from fst import train as training_command

        sys.argv[0:2] = ["fst train"]
        training_command.main()
        return
    with one_line_errors("fst"):
        try:
            app(exit_on_error=False, print_error=False)
        except CycloptsError as error:
            raise ValueError(f"{one_line(error)} (see fst --help)") from error


if __name__ == "__main__":
    main()
