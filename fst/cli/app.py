"""The `fst` command: trainings and optimize are handed to Hydra; the rest takes ordinary flags.

Each command's flags and help come from a function's own signature and docstring. What a command
needs is imported when it runs, so that `fst --help` does not wait for torch.
"""

import importlib
import sys

from cyclopts import App, CycloptsError

from fst import __version__
from fst.cache import prepare_caches
from fst.cli import measure, models, serve, stylize, training, web
from fst.errors import UserError, one_line, one_line_errors, raise_on_termination
from fst.stylizing.options import LESS_MEMORY
from fst.terminal import open_streams
from fst.threads import let_threads_sleep

HYDRA_COMMANDS = {
    "train": (
        "Train a network on a style: `fst train style=PICTURE data.path=DIR` (Hydra key=value).\n\n"
        "`fst train --help` lists the configuration groups, `fst train style=PICTURE data.path=DIR "
        "--cfg job` shows every setting."
    ),
    "train-upscaler": (
        "Train a network for super-resolution: `fst train-upscaler data.path=DIR` (Hydra "
        "key=value).\n\n`fst train-upscaler data.path=DIR --cfg job` shows every setting."
    ),
    "optimize": (
        "Optimise one picture by Gatys' method: `fst optimize content=PHOTO style=PICTURE` (Hydra)."
        "\n\nIt takes minutes and no training. `fst optimize content=PHOTO style=PICTURE --cfg "
        "job` shows every setting."
    ),
}
"""What the help says of the commands that take `key=value`; each is the module of its name here."""

app = App(
    name="fst",
    version=__version__,
    help="Train feed-forward neural style transfer networks, and stylize with them in real time.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # ours says so
)
app.register_install_completion_command(
    help="Install completion of commands and flags for the current shell."
)
for name, about in HYDRA_COMMANDS.items():
    app.command(App(name=name, help=about))
for command in (
    training.prepare,
    training.learn,
    stylize.stylize,
    stylize.upscale,
    models.models,
    models.inspect,
    models.export,
    serve.serve,
    web.web,
    measure.benchmark,
    measure.benchmark_training,
    measure.evaluate,
    measure.evaluate_upscaler,
    measure.compare,
):
    app.command(command)
# By name: it is imported when it is called.
app.command("fst.webcam.command:webcam", help="Stylize a camera live, in a window.")


def main() -> None:
    """Run the command in `sys.argv`; a mistake in it is one line on stderr and exit status 2."""
    open_streams()
    prepare_caches()
    let_threads_sleep()
    if (name := "".join(sys.argv[1:2])) in HYDRA_COMMANDS:
        sys.argv[0:2] = [f"fst {name}"]
        importlib.import_module(f"fst.cli.{name.replace('-', '_')}").main()
        return
    raise_on_termination()
    with one_line_errors("fst", LESS_MEMORY):
        try:
            sys.exit(app(exit_on_error=False, print_error=False, result_action="return_value"))
        except CycloptsError as error:
            raise UserError(f"{one_line(error)} (see fst --help)") from error
