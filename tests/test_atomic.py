"""Atomic writes: whole files, under their own names, with the right permissions."""

import errno
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch

from fst.atomic import replacing, replacing_folder, write_texts
from fst.config import FastConfig
from fst.models.model_file import describe, read_model, save_model
from fst.networks.fast import Fast
from fst.training.run_folder import RunFolder

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and links")


@pytest.fixture
def umask_027():
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_threads_writing_similar_names_do_not_mix(tmp_path: Path):
    paths = [tmp_path / f"{'long name ' * 8}{i:02}.txt" for i in range(24)]
    barrier = Barrier(len(paths))

    def write(path: Path) -> None:
        with replacing(path) as temporary:
            barrier.wait()
            with temporary.open("w") as file:
                barrier.wait()
                file.write(path.name)
            barrier.wait()

    with ThreadPoolExecutor(len(paths)) as pool:
        list(pool.map(write, paths))
    assert sorted(tmp_path.iterdir()) == paths
    assert all(path.read_text() == path.name for path in paths)


def test_nested_writes_of_one_path_end_with_the_last_to_finish(tmp_path: Path):
    path = tmp_path / "a.txt"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_file_is_beside_the_target_with_its_suffix(tmp_path: Path):
    path = tmp_path / "new" / f"{'日' * 83}.png"  # 253 bytes: nothing can be appended
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"x")
    assert list(path.parent.iterdir()) == [path]


def test_the_name_of_another_process_is_not_taken(tmp_path: Path, monkeypatch):
    """As if it had the same number, on another machine, and drew the same random name."""
    drawn = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda length: next(drawn))
    with replacing(tmp_path / "a.txt") as theirs, replacing(tmp_path / "a.txt") as ours:
        assert theirs != ours
        theirs.write_text("theirs")
        ours.write_text("ours")
    assert (tmp_path / "a.txt").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_failed_write_leaves_the_old_file_alone(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_new_files_have_the_permissions_of_the_umask(tmp_path: Path, umask_027):
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    network = Fast(FastConfig(width=8, residual_blocks=1))
    save_model(tmp_path / "b.safetensors", network, describe(network))
    assert [mode_of(path) for path in sorted(tmp_path.iterdir())] == [0o640, 0o640]


@posix
def test_an_overwritten_file_keeps_its_permissions(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o604)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert mode_of(path) == 0o604


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_symlink_stays_and_its_target_is_written(tmp_path: Path, exists: bool):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.txt", tmp_path / "link.txt"
    if exists:
        target.write_text("old")
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_the_file_is_flushed_through_a_writable_descriptor(tmp_path: Path, monkeypatch):
    """As Windows demands: `os.fsync` fails there on files opened for reading."""
    fcntl = pytest.importorskip("fcntl")
    modes = []
    monkeypatch.setattr(os, "fsync", lambda fd: modes.append(fcntl.fcntl(fd, fcntl.F_GETFL)))
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert [flags & os.O_ACCMODE for flags in modes] == [os.O_RDWR]


def test_the_model_reads_back_after_a_parallel_save(tmp_path: Path):

    networks = [Fast(FastConfig(width=8, residual_blocks=1)) for _ in range(6)]
    paths = [tmp_path / f"{'x' * 70}{i}.safetensors" for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        jobs = zip(paths, networks, strict=True)
        list(pool.map(lambda job: save_model(*job, describe(job[1])), jobs))
    for path, network in zip(paths, networks, strict=True):
        loaded = read_model(path).network
        assert all(map(torch.equal, loaded.parameters(), network.parameters()))


@posix
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM])
def test_a_file_system_without_flushing_and_modes_has_the_result(
    monkeypatch, tmp_path: Path, number: int
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o604)
    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_what_does_not_reach_the_disk_is_an_error(monkeypatch, tmp_path: Path, number: int):
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError) as failed, replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert failed.value.errno == number
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_full_disk_is_blamed_on_what_is_written(tmp_path: Path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(OSError, match="No space left on device: '.*out.png'"),
        replacing(tmp_path / "out.png"),
    ):
        raise full


def test_texts_are_utf_8_and_take_any_name(tmp_path: Path):
    write_texts(tmp_path, {"a.md": "\u017c caf\udce9"})
    assert (tmp_path / "a.md").read_bytes() == b"\xc5\xbc caf\\udce9"


@posix
@pytest.mark.parametrize("what", ["model", "state"])
def test_a_disk_that_fills_while_saving_is_an_os_error_and_keeps_the_old_file(
    tmp_path: Path, what: str
):
    # As a full disk does: no file can grow beyond the limit.
    import resource

    folder = RunFolder(tmp_path)

    def save(width: int) -> None:
        if what == "state":
            folder.write_state({"weights": torch.zeros(width, width)})
        else:
            network = Fast(FastConfig(width=width, residual_blocks=1))
            save_model(folder.model, network, describe(network))

    save(8)
    (file,) = tmp_path.iterdir()
    old = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old), limits[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: '{file}'"):
            save(64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == old


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, there: bool):
    folder = tmp_path / "more" / "site"
    if there:
        folder.mkdir(parents=True)
        (folder / "old").touch()
    with pytest.raises(ZeroDivisionError), replacing_folder(folder) as temporary:
        (temporary / "new").touch()
        raise ZeroDivisionError
    assert [each.name for each in folder.glob("*")] == ["old"] * there
    with replacing_folder(folder) as temporary:
        (temporary / "new").touch()
        assert [each.name for each in folder.glob("*")] == ["old"] * there
    assert [each.name for each in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


@posix
def test_a_new_folder_has_the_permissions_of_the_umask(tmp_path: Path, umask_027):
    with replacing_folder(tmp_path / "site"):
        pass
    assert mode_of(tmp_path / "site") == 0o750
