"""The `fst` command: `fst train` hands over to Hydra; the rest takes ordinary flags.

Each command's flags and help come from a function's own signature and docstring. What a command
needs is imported when it runs, so that `fst --help` does not wait for torch.
"""

import sys
from contextlib import closing
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
    *inputs: str,
    output: Annotated[str, Parameter(alias="-o")],
    strength: float = 1.0,
    keep_colors: bool = False,
    size: int | None = None,
    mask: Path | None = None,
    tile_px: int | None = None,
    smooth: float = 0.0,
    overwrite: bool = False,
    device: str = "auto",
    dtype: str = "auto",
) -> int:
    """Stylize pictures and videos with a trained model.

    Args:
        model: A model file, a run folder or the name of a released model; several with commas
            between them.
        inputs: Pictures, videos, folders of pictures, and patterns such as 'photos/**/*.jpg'.
        output: A file where there is one input and one model, else a folder (as is NAME/).
        strength: 1 is the model's result, 0 the picture itself.
        keep_colors: Keep the picture's colours and take the luminance alone from the result.
        size: Scale the shorter side to so many pixels first.
        mask: A picture, stretched over each: white is stylized, black kept. Not for videos.
        tile_px: Side of the tiles that large pictures are done in; 0 never tiles. Without it,
            pictures of more than 4 megapixels are.
        smooth: Less flicker in videos: how much of the last frame stays where nothing moves, in
            [0, 1); 0.8 is much.
        overwrite: Write over existing results, which are otherwise left as they are.
        device: cuda, cpu ...; auto takes CUDA where there is one.
        dtype: fp32, fp16 or bf16; auto takes fp16 on CUDA, else fp32.
    """
    from fst.batch import stylize_pictures, stylize_videos
    from fst.console import StylizeConsole
    from fst.files import find_inputs, plan
    from fst.stylize import check_options, load_several
    from fst.video_file import is_video

    if not inputs:
        raise ValueError("nothing to stylize: fst stylize MODEL PICTURE... -o OUT")
    check_options(strength, size, tile_px, smooth)
    found, left_alone = find_inputs(inputs, output)
    if mask is not None and any(is_video(source) for source, _ in found):
        raise ValueError("--mask is for pictures, and there are videos: do them without it")
    stylizers = load_several(model, device, dtype)
    planned = plan(found, list(stylizers), output)
    jobs = [job for job in planned if overwrite or not job.target.exists()]
    pictures = [job for job in jobs if not is_video(job.source)]
    videos = [job for job in jobs if is_video(job.source)]
    with closing(StylizeConsole(len(jobs))) as console:
        console.show(
            stylize_pictures(
                pictures,
                stylizers,
                strength=strength,
                keep_colors=keep_colors,
                size=size,
                mask=mask,
                tile_px=tile_px,
                progress=console.tiles,
            )
        )
        console.show(
            stylize_videos(
                videos,
                stylizers,
                strength=strength,
                keep_colors=keep_colors,
                size=size,
                tile_px=tile_px,
                smooth=smooth,
                progress=console.frames,
            )
        )
        return console.conclude(len(planned) - len(jobs), left_alone)


# Named, not imported: what it needs is imported when it is called.
app.command("fst.webcam:webcam", help="Stylize a camera live, in a window.")


def main() -> None:
    """Run the command of `sys.argv`; a mistake in it is one line on stderr and exit status 2."""
    if sys.argv[1:2] == ["train"]:
        from fst import train as training_command

        sys.argv[0:2] = ["fst train"]
        training_command.main()
        return
    with one_line_errors("fst"):
        try:
            sys.exit(app(exit_on_error=False, print_error=False, result_action="return_value"))
        except CycloptsError as error:
            raise ValueError(f"{one_line(error)} (see fst --help)") from error


if __name__ == "__main__":
    main()
