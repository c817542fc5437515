"""onnxruntime-web: taken from a folder or through npm, never unpacked before it is verified."""

import base64
import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from fst.errors import UserError
from fst.web import runtime
from fst.web.runtime import FILES, PACKAGE, VERSION, find_runtime, unpack

ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
posix = pytest.mark.skipif(sys.platform == "win32", reason="a shell script in npm's place")


def write_archive(path: Path, more: dict[str, tarfile.TarInfo | None] | None = None) -> str:
    """Write a package with all files and others, and return its SHA-512 in base64."""
    with tarfile.open(path, "w:gz") as tar:
        for name in (*FILES, "ort.node.min.js"):
            content = f"// {name}".encode()
            about = tarfile.TarInfo(f"package/dist/{name}")
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
        for name, about in (more or {}).items():
            tar.addfile(about or tarfile.TarInfo(name), io.BytesIO())
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def names_in(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_of_an_archive_only_the_page_s_files_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outside = tarfile.TarInfo("../outside.js")
    integrity = write_archive(tmp_path / ARCHIVE, {"../outside.js": outside})
    monkeypatch.setattr(runtime, "INTEGRITY", integrity)
    (tmp_path / "within").mkdir()
    dist = unpack(tmp_path / ARCHIVE, tmp_path / "within")
    assert names_in(dist) == set(FILES)
    assert (dist / FILES[0]).read_text() == f"// {FILES[0]}"
    assert names_in(tmp_path) == {ARCHIVE, "within"}


def test_another_archive_is_not_unpacked(tmp_path: Path):
    write_archive(tmp_path / ARCHIVE)
    with pytest.raises(UserError, match=f"is not {PACKAGE} {VERSION}"):
        unpack(tmp_path / ARCHIVE, tmp_path)  # by the pinned SHA-512
    assert names_in(tmp_path) == {ARCHIVE}


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "secret").write_text("secret")
    link = tarfile.TarInfo(f"package/dist/{FILES[0]}")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    integrity = write_archive(tmp_path / ARCHIVE, {link.name: link})
    monkeypatch.setattr(runtime, "INTEGRITY", integrity)
    with pytest.raises(UserError, match=f"cannot unpack dist/{FILES[0]}"):
        unpack(tmp_path / ARCHIVE, tmp_path / "within")


def test_a_folder_is_taken_if_it_has_every_file(stub_ort: Path, tmp_path: Path):
    assert find_runtime(stub_ort).version == "1.99.0"
    with pytest.raises(FileNotFoundError, match=f"has no {FILES[0]}"):
        find_runtime(tmp_path)
    for name in FILES:
        (tmp_path / name).touch()
    assert find_runtime(tmp_path).version == ""


def put_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a script in npm's place."""
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_without_npm_it_says_what_to_install_or_to_download(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=f"install npm, or give --ort DIR: .*{ARCHIVE}"):
        find_runtime()


@posix
def test_npm_brings_it_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(runtime, "INTEGRITY", write_archive(tmp_path / ARCHIVE))
    put_npm(
        tmp_path / "bin", f'echo "$@" >> {tmp_path}/calls\ncp {tmp_path}/{ARCHIVE} .', monkeypatch
    )
    lines: list[str] = []
    for _ in range(2):
        found = find_runtime(note=lines.append)
        assert names_in(found.folder) == set(FILES)
    assert found.version == VERSION
    assert (tmp_path / "calls").read_text() == f"pack --silent {PACKAGE}@{VERSION}\n"
    assert len(lines) == 1
    assert names_in(own_cache) == {f"{PACKAGE}-{VERSION}"}


@posix
@pytest.mark.parametrize(
    "script, said",
    [
        ("echo 'no route to host' >&2; exit 1", "no route to host"),
        ("exit 3", "exit status 3"),
        ("true", "did not write"),
        (f"echo something else > {ARCHIVE}", "its SHA-512 is"),
    ],
)
def test_what_npm_cannot_bring_leaves_nothing(
    script: str, said: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    put_npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(UserError, match=said) as failed:
        find_runtime()
    assert "--ort" in str(failed.value)
    assert names_in(own_cache) == set()
