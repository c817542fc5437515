"""The cache: in the user's folder, or where a user without a home can write."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from fst.cache import cache_path, prepare_caches
from fst.device import prepare_compiler
from fst.errors import UserError
from fst.models import inspection

linux = pytest.mark.skipif(sys.platform != "linux", reason="where Linux has these folders")


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path: Path) -> Iterator[Path]:
    """The temporary folder; nothing else is set."""
    for variable in ("FST_CACHE", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "HF_HOME"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with patch.dict(os.environ):
        yield folder


def own(temporary: Path) -> Path:
    return temporary / f"fst-{os.getuid()}"


@linux
def test_the_cache_is_fst_cache_or_the_users(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_path("compiled") == tmp_path / "fst" / "compiled"
    monkeypatch.setenv("FST_CACHE", str(tmp_path / "own"))
    assert cache_path("compiled") == tmp_path / "own" / "compiled"
    prepare_caches()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "own" / "compiled")
    assert "HF_HOME" not in os.environ


def without_home(monkeypatch) -> None:
    import pwd

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@linux
@pytest.mark.parametrize(
    "disable",
    [
        without_home,
        lambda monkeypatch: monkeypatch.setenv("HOME", "/dev/null"),
        lambda monkeypatch: monkeypatch.setenv("FST_CACHE", "/dev/null/cache"),
    ],
)
def test_without_a_folder_to_write_in_the_temporary_one_serves(
    monkeypatch, fst_here, temporary: Path, disable
):
    disable(monkeypatch)
    assert cache_path("vgg16.safetensors") == own(temporary) / "vgg16.safetensors"
    assert own(temporary).stat().st_mode & 0o777 == 0o700
    assert fst_here("--help").returncode == 0
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(own(temporary) / "compiled")
    if "FST_CACHE" not in os.environ:
        assert os.environ["HF_HOME"] == str(own(temporary) / "huggingface")


def test_what_a_read_only_cache_holds_is_used(monkeypatch, tmp_path: Path, temporary: Path):
    monkeypatch.setenv("FST_CACHE", str(tmp_path))
    (tmp_path / "vgg16.safetensors").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cache_path("vgg16.safetensors") == tmp_path / "vgg16.safetensors"
    assert cache_path("other.safetensors").is_relative_to(temporary)


@linux
def test_a_temporary_folder_of_somebody_else_is_refused(monkeypatch, tmp_path: Path, temporary):
    monkeypatch.setenv("FST_CACHE", "/dev/null/cache")
    own(temporary).symlink_to(tmp_path)
    with pytest.raises(UserError, match="set FST_CACHE to a folder of your own"):
        cache_path("compiled")
    prepare_caches()  # most commands need none


@linux
@pytest.mark.parametrize("name", ["John Smith", "O'Brien", 'the "best"'])
def test_code_is_compiled_where_the_path_has_neither_blanks_nor_quotes(
    monkeypatch, tmp_path: Path, temporary: Path, name: str
):
    monkeypatch.setattr("fst.device.shutil.which", lambda compiler: compiler)
    monkeypatch.setenv("FST_CACHE", str(tmp_path / name))
    assert cache_path("vgg16.safetensors") == tmp_path / name / "vgg16.safetensors"
    prepare_compiler(torch.device("cpu"))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(own(temporary) / "compiled")

    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    refused = "set FST_CACHE and TMPDIR to folders whose paths have neither blanks nor quotes"
    with pytest.raises(UserError, match=refused):  # torch compiles in the temporary folder, too
        prepare_compiler(torch.device("cpu"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    with pytest.raises(UserError, match=refused):
        prepare_compiler(torch.device("cpu"))


def test_every_command_keeps_compiled_code_in_the_cache(fst_here, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("FST_CACHE", str(tmp_path))
    monkeypatch.setattr(
        inspection, "inspect_model", lambda _: {"cache": os.environ["TORCHINDUCTOR_CACHE_DIR"]}
    )
    assert fst_here("inspect", "starry_night").stdout.split() == [
        "cache",
        str(tmp_path / "compiled"),
    ]
