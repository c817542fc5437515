"""onnxruntime-web, which runs the page's models: from npm, or from a folder that the user names."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fst.cache import cache_path
from fst.errors import UserError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
"""The SHA-512 of the package's archive, in base64 as npm has it."""
WEBGPU, WASM = "ort.webgpu.bundle.min.mjs", "ort.wasm.bundle.min.mjs"
"""The modules that the page imports: with WebGPU, and for WebAssembly alone."""
FILES = (
    WEBGPU, "ort-wasm-simd-threaded.asyncify.wasm",
    WASM, "ort-wasm-simd-threaded.wasm",
)  # fmt: skip
"""The modules, each before the only other file that it loads."""
_PATIENCE_S = 600
_BY_HAND = f"or give --ort DIR: the folder dist/ of an unpacked {PACKAGE}-{VERSION}.tgz"


@dataclass(frozen=True)
class Runtime:
    """A folder that holds `FILES`."""

    folder: Path
    version: str


def find_runtime(
    given: Path | None = None, note: Callable[[str], None] = lambda line: None
) -> Runtime:
    """Return the folder that is given, or else that of the pinned version, which npm brings once.

    Args:
        given: the folder dist/ of any version of the package.
        note: called with a line before a download.

    Raises:
        FileNotFoundError: the folder that is given lacks a file.
        UserError: nothing is given, and the package cannot be downloaded or is not the pinned one.
    """
    if given is not None:
        return Runtime(given, _version_of(given))
    folder = cache_path(f"{PACKAGE}-{VERSION}")
    if not folder.exists():
        note(f"downloading {PACKAGE} {VERSION} with npm (33 MB, once)")
        _download(folder)
    return Runtime(folder, VERSION)


def _version_of(folder: Path) -> str:
    """Return the version of a package whose dist/ is given, empty where nothing says it."""
    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"--ort {folder} has no {name}: give the folder dist/ of {PACKAGE} {VERSION}"
            )
    try:
        about = json.loads((folder.parent / "package.json").read_text(encoding="utf-8"))
        return str(about["version"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _download(folder: Path) -> None:
    """Have npm bring the package, verify it, and keep `FILES` in a folder, which is made."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"the page needs {PACKAGE}, which npm downloads: install npm, {_BY_HAND}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as name:
        temporary = Path(name)
        try:
            subprocess.run(
                [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"],
                cwd=temporary,
                check=True,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_S,
            )
        except subprocess.CalledProcessError as error:
            reason = " ".join(error.stderr.split())[-200:] or f"exit status {error.returncode}"
            raise UserError(
                f"npm cannot download {PACKAGE} ({reason}): try again, {_BY_HAND}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"npm did not bring {PACKAGE} within {_PATIENCE_S} s: try again, {_BY_HAND}"
            ) from error
        unpacked = unpack(temporary / f"{PACKAGE}-{VERSION}.tgz", temporary)
        if not folder.exists():  # another process may have been faster
            unpacked.replace(folder)


def unpack(archive: Path, into: Path) -> Path:
    """Verify a package's archive, and return a new folder with its `FILES` alone.

    Args:
        archive: the .tgz.
        into: the folder to make it in.

    Raises:
        UserError: the archive is missing, not that one, or lacks files.
    """
    if not archive.is_file():
        raise UserError(f"npm did not write {archive.name}: try again, {_BY_HAND}")
    with archive.open("rb") as file:
        digest = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if digest != INTEGRITY:
        raise UserError(
            f"{archive.name} is not {PACKAGE} {VERSION} as fst knows it: its SHA-512 is {digest}. "
            f"Nothing of it was unpacked: try again, {_BY_HAND}"
        )
    dist = into / "package" / "dist"
    with tarfile.open(archive) as tar:
        for name in FILES:
            try:
                tar.extract(f"package/dist/{name}", into, filter="data")
            except (KeyError, tarfile.TarError) as error:
                raise UserError(f"{archive.name}: cannot unpack dist/{name}") from error
    return dist
