"""`fst prepare` and `fst learn`: before a training, and after it."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fst.cli.work_console import WorkConsole
from fst.errors import UserError
from fst.terminal import note, say


def prepare(
    source: str,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    size: int = 512,
    quality: int = 95,
    column: str = "image",
    files: str = "data/train-*",
) -> None:
    """Write photographs once at the size that training needs, as parquet files.

    Training then decodes each about twice as fast. Run an
    interrupted command again to continue it; what is there is verified.

    Args:
        source: A folder of pictures or of parquet files, a pattern such as 'shards/*.parquet', or
            coco, which is downloaded.
        output: The folder for the parquet files.
        size: The photographs' shorter side in pixels; smaller ones stay as they are. Training cuts
            squares of half of it and more, and scales them to 288 pixels.
        quality: JPEG quality, 1 to 100.
        column: The column of parquet files that holds the pictures.
        files: Which files of COCO; 'data/train-0000[0-3]*' is a tenth of it (2 GB).
    """
    from fst.data.prepare import prepare as write_photographs
    from fst.data.sources import describe_source

    data = describe_source(source, column, files)
    with closing(WorkConsole()) as console:
        prepared = write_photographs(data, output, size, quality, console.show)
    say(f"{output}: {prepared}")
    say(f"train with  fst train style=PICTURE data=parquet data.path={output}")


def learn(
    model: str,
    *pictures: str,
    output: Annotated[Path, Parameter(alias="-o")],
    photographs: Path | None = None,
    images: int = 100,
    size: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Add styles to a model that has several, in half a minute each; the others stay as they are.

    Args:
        model: A model that was trained with `fst train styles=...` or `any=...`.
        pictures: The new styles' pictures, or folders of them. Each style gets its file's name.
        output: The .safetensors file for the model with all styles; a sheet is written beside it.
        photographs: A folder of photographs to learn on; a hundred are plenty. Default: pictures
            that fst draws, on which it learns almost as well.
        images: How many photographs are seen for each style.
        size: The style picture's shorter side when it is measured: larger gives larger strokes.
            Default: as the model was trained, 448 for styles= and 320 for any=.
        device: cuda, mps, cpu ...; auto takes the first available.
        overwrite: Replace the file if it exists.
    """
    from fst.models.model_ref import find_model
    from fst.training.learning import add_styles, sheet_of

    if not pictures:
        raise UserError("no style to learn: fst learn MODEL PICTURE... -o OUT")
    with closing(WorkConsole()) as console:
        learnt = add_styles(
            find_model(model, note),
            pictures,
            photographs,
            output,
            images,
            size,
            device,
            overwrite,
            console.show,
            note,
        )
    for style in learnt:
        terms = ", ".join(f"{k} {v:.3f}" for k, v in style.losses.items() if "/" not in k)
        say(f"{style.name}: {terms}")
    say(f"sheet          {sheet_of(output)}")
    say(f"stylize with   fst stylize {output}:{learnt[0].name} PICTURE... -o OUT")
