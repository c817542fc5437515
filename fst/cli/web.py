"""`fst web`: a page that stylizes in the browser, as a folder of static files."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fst.cli.work_console import WorkConsole
from fst.terminal import note, say


def web(
    *models: str,
    output: Annotated[Path, Parameter(alias="-o")],
    example: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    ort: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a page that stylizes photographs, and the camera live, in the browser.

    It is a folder of static files for any web server; pictures never leave the visitor's machine.

    Args:
        models: Model files, run folders, or names of runs or of released models. Default: all
            released models that stylize.
        output: The folder for the site.
        example: A photograph to start with; repeat the flag for more. Default: a portrait of an
            astronaut if the extra demo is installed, else a picture that ships with fst.
        ort: The folder dist/ of onnxruntime-web, for machines without npm or a network.
        overwrite: Replace the site if there is one.
    """
    from fst.models.model_ref import find_model
    from fst.models.released import released_models
    from fst.web.site import build_site

    names = models or tuple(model.name for model in released_models() if not model.enlarges)
    refs = [find_model(name, note) for name in names]
    with closing(WorkConsole()) as console:
        sizes = build_site(output, refs, example, ort, overwrite, console.show, note)
    say(f"{output}: {len(refs)} models, {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB")
    say(f"see it with  python -m http.server -d {output}")
