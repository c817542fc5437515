"""`fst web`: a folder of static files with a page that stylizes on its visitor's machine.

The page is in `fst/web/page/`. `site.json` tells it what else the site holds.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst import __version__
from fst.atomic import replacing_folder
from fst.errors import UserError
from fst.models.model import Model, for_super_resolution
from fst.models.model_file import read_model
from fst.models.model_info import ModelInfo
from fst.models.model_ref import ModelRef
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler
from fst.pictures.image import middle_square, read_image, resize, write_image
from fst.report import Progress, few
from fst.web.networks import write_network, write_predictor, write_styled
from fst.web.runtime import FILES, WASM, WEBGPU, Runtime, find_runtime

THUMBNAIL_PX, THUMBNAIL_QUALITY = 192, 85
SITE = "site.json"
"""The file by which a site is known, and which the page reads first."""
UNLISTED = (SITE, "sw.js")
"""Files that the site's list leaves out: the list itself, and what caches all that is listed."""
_TEST_PX = (191, 253)
"""Height and width of the picture that networks are tested on: no multiples of anything."""
_EXAMPLE_PX = 2048
"""Longest side of an example picture."""


def build_site(
    output: Path,
    models: Sequence[ModelRef],
    examples: Sequence[Path] = (),
    ort: Path | None = None,
    overwrite: bool = False,
    show: Progress = lambda what, done, total: None,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Write a site.

    Args:
        output: its folder.
        models: what `find_model` returned.
        examples: pictures to begin with; none takes an astronaut of scikit-image's where that is
            installed (the extra `demo`), else the picture that ships with fst.
        ort: a folder with the runtime, as `find_runtime` takes it.
        overwrite: replace a site that is there.
        show: called with the progress.
        note: called with a line before a download.

    Returns:
        The bytes of each file by name.

    Raises:
        FileExistsError: there is a site already.
        ImportError: the packages that write or run exported models are not installed.
        OSError: a picture is missing, or the site cannot be written.
        UserError: `output` holds other things than a site, a model is not for the page or its
            files differ from it, a picture cannot be read, or there is no runtime.
    """
    _check_output(output, overwrite)
    read = dict(_read_models(models))
    with _example_files(examples) as files:
        pictures = [read_image(file, _EXAMPLE_PX**2) for file in files]
    runtime = find_runtime(ort, note)
    with replacing_folder(output) as folder:
        _copy_page(folder)
        _copy_runtime(folder, runtime)
        names = [f"examples/{number}.jpg" for number in range(len(pictures))]
        for name, picture in zip(names, pictures, strict=True):
            longest = max(picture.shape[-2:])
            if longest > _EXAMPLE_PX:
                picture = resize(picture, _EXAMPLE_PX * min(picture.shape[-2:]) // longest)
            write_image(picture, folder / name)
        listed = list(_write_models(folder, read, pictures[0], show))
        return _write_list(folder, runtime, names, listed)


def _check_output(output: Path, overwrite: bool) -> None:
    """Raise an error if a folder is there that is not to be replaced, or is no site."""
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file: name a folder for the site")
    found = {file.relative_to(output).as_posix() for file in output.rglob("*") if file.is_file()}
    if strangers := sorted(found - _files_of(output)):
        raise UserError(
            f"{output} holds files that fst web did not write ({few(strangers)}): name another "
            "folder, or move them away"
        )
    if found and not overwrite:
        raise FileExistsError(f"{output} holds a site: --overwrite replaces it")


def _files_of(output: Path) -> set[str]:
    """Return the names of the files of a site, none where a folder is no site."""
    try:
        site = json.loads((output / SITE).read_text(encoding="utf-8"))
        return {*site["files"], *UNLISTED} if "ort" in site else set()
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def _read_models(refs: Sequence[ModelRef]) -> Iterator[tuple[str, Model]]:
    """Yield the name on the page and the model of each; refuse what is not for the page."""
    taken: dict[str, ModelRef] = {}
    for ref in refs:
        if ref.is_exported:
            raise UserError(f"{ref.path} is already exported: use the .safetensors it came from")
        if ref.choice:
            raise UserError(f"the page has every style of a model: leave out :{ref.choice}")
        name = _as_file_name(ref.name)
        if name in taken:
            raise UserError(
                f"two models are named {name}, {taken[name]} and {ref}: rename a file or a run"
            )
        taken[name] = ref
        model = read_model(ref.path)
        if isinstance(model.network, Upscaler):
            raise for_super_resolution(ref.path)
        yield name, model


def _as_file_name(text: str) -> str:
    """Return a text as a name of a file that needs no escapes in an address and is not hidden."""
    return re.sub(r"[^\w.+-]", "_", text).strip("._") or "model"


@contextmanager
def _example_files(given: Sequence[Path]) -> Iterator[Sequence[Path]]:
    own = resources.files("fst.conf") / "style" / "vortices.jpg"
    if find_spec("skimage"):  # its photograph shows more of a style; NASA's, public domain
        own = resources.files("skimage.data") / "astronaut.png"
    with resources.as_file(own) as file:
        yield given or [file]


def _copy_page(folder: Path) -> None:
    with resources.as_file(resources.files("fst.web") / "page") as page:
        shutil.copytree(page, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def _copy_runtime(folder: Path, runtime: Runtime) -> None:
    (folder / "ort").mkdir()
    for name in FILES:
        shutil.copyfile(runtime.folder / name, folder / "ort" / name)


def _write_models(
    folder: Path, models: Mapping[str, Model], picture: Tensor, show: Progress
) -> Iterator[dict[str, Any]]:
    """Write the files of each model, and yield its entry in `site.json`."""
    (folder / "models").mkdir()
    height, width = _TEST_PX
    tried = resize(picture, max(_TEST_PX))[..., :height, :width]
    square = middle_square(resize(picture, THUMBNAIL_PX))
    for number, (name, model) in enumerate(models.items()):
        show(name, number, len(models))
        yield _write_model(folder, name, model, tried, square)
    show("done", len(models), len(models))


def _write_model(
    folder: Path, name: str, model: Model, tried: Tensor, square: Tensor
) -> dict[str, Any]:
    """Write the files of a model, tested on one picture, with thumbnails made of a square one."""
    about = _describe(model.info, name)
    about["file"] = f"models/{name}.onnx"
    network = _new_file(folder, about["file"])
    if not model.info.has_choice:
        write_network(model, network, tried)
        about["thumbnail"] = _write_thumbnail(folder, name, model.stylizer, square)
        return about
    values = write_styled(model, network, tried)
    about |= {"values": f"models/{name}.values", "size": values.shape[1]}
    (folder / about["values"]).write_bytes(values.numpy().astype("<f4").tobytes())
    about["styles"] = [
        {
            "name": style.name,
            "title": style.card.get("title") or style.name,
            "artist": style.card.get("artist", ""),
            "year": style.card.get("year", ""),
            "thumbnail": _write_thumbnail(
                folder,
                f"{name}-{_as_file_name(style.name)}",
                model.in_style(style.name).stylizer,
                square,
            ),
        }
        for style in model.info.styles
    ]
    if model.predicts:
        about["painting"] = f"models/{name}_painting.onnx"
        write_predictor(model, _new_file(folder, about["painting"]), network, tried)
    return about


def _describe(info: ModelInfo, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": info.title or name,
        **{key: info.card.get(key, "") for key in ("artist", "year", "rights", "note")},
        "licence": info.licence,
    }


def _write_thumbnail(folder: Path, name: str, network: TransformerNetwork, square: Tensor) -> str:
    file = f"thumbnails/{name}.jpg"
    with torch.no_grad():
        write_image(network(square), _new_file(folder, file), THUMBNAIL_QUALITY)
    return file


def _new_file(folder: Path, name: str) -> Path:
    """Return a file that no other model or style has; not all file systems tell cases apart."""
    if (folder / name).exists():
        raise UserError(f"two models or styles would both be {name}: rename one")
    return folder / name


def _write_list(
    folder: Path, runtime: Runtime, examples: list[str], models: list[dict[str, Any]]
) -> dict[str, int]:
    """Write `site.json`, and return the bytes of each file of the site."""
    content = hashlib.sha256()
    sizes = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = file.relative_to(folder).as_posix()
        sizes[name] = file.stat().st_size
        content.update(f"{name}\0".encode())
        with file.open("rb") as opened:
            content.update(hashlib.file_digest(opened, "sha256").digest())
    site = {
        "fst": __version__,
        "version": content.hexdigest()[:16],
        "ort": {"version": runtime.version, "webgpu": f"ort/{WEBGPU}", "wasm": f"ort/{WASM}"},
        "files": {name: size for name, size in sizes.items() if name not in UNLISTED},
        "examples": examples,
        "models": models,
    }
    text = json.dumps(site, indent=1, ensure_ascii=False)
    (folder / SITE).write_text(text, encoding="utf-8")
    return {**sizes, SITE: (folder / SITE).stat().st_size}
