"""Parquet files as people have them: each is read, or refused in a line that names it."""

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fst.config import ParquetDataConfig
from fst.data import parquet as module
from fst.data.batches import open_data
from fst.data.sources import Source, open_source
from fst.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def shades(source: Source) -> list[int]:
    return [source.open(index).getpixel((0, 0))[0] for index in range(len(source))]


def write(file: Path, values: pa.Array, **how: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": values}), file, **how)
    return file


def structs(*numbers: int, named: bool = True) -> pa.Array:
    rows = [{"bytes": png(each), "path": f"{each}.png" if named else None} for each in numbers]
    return pa.array(rows, STRUCT)


def open_parquet(path: Path, **how: Any) -> Source:
    return open_source(ParquetDataConfig(path=str(path), **how))


def damage_page(whole: bytes) -> bytes:
    at = whole.index(png(1)[-30:])
    return whole[:at] + bytes(30) + whole[at + 30 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"PAR1",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-9] + b"\xff" + whole[-8:],
        lambda whole: b"PAR1" + bytes(len(whole)) + whole[-8:],
        lambda whole: b"not a parquet file, but as long as one",
        damage_page,
    ],
)
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, damage: Callable[[bytes], bytes]):
    how = {"compression": "none", "write_page_checksum": True}
    write(tmp_path / "set" / "a.parquet", structs(1, 2), **how)
    file = write(tmp_path / "set" / "b.parquet", structs(1, 3), **how)
    assert shades(open_parquet(tmp_path / "set")) == [1, 2, 1, 3]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=r"cannot read .*b\.parquet as a parquet file: "):
        open_parquet(tmp_path / "set")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([[png(1)]]), "list<.*: binary>"),
        (pa.array([3, 4]), "int64"),
        (pa.array([{"height": 3}]), "struct<height: int64>"),
        (pa.array([{"bytes": [1, 2]}]), "struct<bytes: list"),
        (pa.nulls(3), "null"),
    ],
)
def test_a_column_of_something_else_is_refused(tmp_path: Path, values: pa.Array, kind: str):
    file = write(tmp_path / "a.parquet", values)
    with pytest.raises(UserError, match=rf"a\.parquet has no encoded .* 'image', but {kind}"):
        open_parquet(file)


def test_files_without_rows_are_passed_and_only_such_files_are_an_error(tmp_path: Path):
    empty = write(tmp_path / "set" / "a.parquet", structs())
    with pytest.raises(FileNotFoundError, match=r"a\.parquet holds no pictures"):
        open_parquet(empty)
    write(tmp_path / "set" / "b.parquet", structs(5))
    assert shades(open_parquet(tmp_path / "set")) == [5]


def test_files_that_hold_pictures_in_different_ways_are_read_together(tmp_path: Path):
    (tmp_path / "outside.png").write_bytes(png(6))
    column = [png(2), png(3)]
    for name, values in {
        "a": structs(1),
        "b": pa.array(column),
        "c": pa.array(column, pa.large_binary()),
        "d": pa.array([{"height": 40, "path": None, "bytes": png(4)}, None]),
        "e": pa.array([{"bytes": png(5)}]),
        "f": pa.array([str(tmp_path / "outside.png")]),
        "g": pa.array([png(7)]).dictionary_encode(),
    }.items():
        write(tmp_path / "set" / f"{name}.parquet", values)
    source = open_parquet(tmp_path / "set")
    assert source.read_bytes(6) == b""
    found = [source.open(index).getpixel((0, 0))[0] for index in (0, 1, 2, 3, 4, 5, 7, 8, 9)]
    assert found == [1, 2, 3, 2, 3, 4, 5, 6, 7]


def test_odd_metadata_do_not_matter(tmp_path: Path):
    odd = {b"huggingface": b'{"info": [', b"pandas": b"\xff{"}
    table = pa.table({"image": structs(1)}).replace_schema_metadata(odd)
    pq.write_table(table, tmp_path / "a.parquet")
    assert shades(open_parquet(tmp_path / "a.parquet")) == [1]


@pytest.mark.parametrize("name", ["br[1]", "a*b?", "x{1,2}", "50%", "héllo wörld"])
def test_names_may_read_like_patterns(tmp_path: Path, name: str):
    file = write(tmp_path / name / f"{name}.parquet", structs(8))
    assert shades(open_parquet(file.parent)) == shades(open_parquet(file)) == [8]
    assert shades(open_parquet(tmp_path / name / "*.parquet")) == [8]


@pytest.mark.parametrize(
    ("values", "how"),
    [
        (pa.array([bytes(4_000_000)]), {"compression": "zstd"}),  # as its metadata say
        (pa.array([bytes(100_000)] * 40), {"compression": "zstd"}),  # one value, forty times
        (pa.nulls(100_000, STRUCT), {}),
    ],
)
def test_a_file_that_would_become_many_times_its_size_is_refused(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, values: pa.Array, how: dict
):
    monkeypatch.setattr(module, "ALLOWANCE", 1_000_000)
    file = write(tmp_path / "a.parquet", values, **how)
    with pytest.raises(UserError, match=r"a\.parquet has 0\.\d MB, but its pictures would take \d"):
        open_parquet(file)
    assert not [file for file in own_cache.rglob("*") if file.is_file()]


def test_a_file_is_copied_once_and_again_when_it_changes(tmp_path: Path, own_cache: Path):
    file = write(tmp_path / "a.parquet", structs(1, 2))
    assert shades(open_parquet(file)) == [1, 2]
    (copy,) = (own_cache / "photographs").iterdir()
    written = copy.stat().st_mtime_ns
    assert shades(open_parquet(file)) == [1, 2]
    assert copy.stat().st_mtime_ns == written
    write(file, structs(3, 4, 5))
    assert shades(open_parquet(file)) == [3, 4, 5]


def test_what_lies_beside_parquet_files_is_named(tmp_path: Path):
    write(tmp_path / "a.parquet", structs(1, 2, 3))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.png").write_bytes(png(9))
    config = ParquetDataConfig(path=str(tmp_path), heldout_images=0)
    summary = open_data(config, 0, leave_out=[tmp_path / "cache"]).summary
    assert summary == "3 photographs to train on, 0 held out; 1 other files skipped (b.png)"


def test_sets_of_pictures_without_names_are_told_apart_by_their_contents(tmp_path: Path):
    one = open_parquet(write(tmp_path / "a.parquet", structs(10, 11, named=False))).fingerprint()
    same = open_parquet(write(tmp_path / "b.parquet", structs(10, 11, named=False))).fingerprint()
    other = open_parquet(write(tmp_path / "c.parquet", structs(10, 12, named=False))).fingerprint()
    assert len(png(11)) == len(png(12))
    assert one == same != other


def test_a_copy_that_cannot_be_written_is_an_error_that_says_where(tmp_path: Path, monkeypatch):
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "replacing", full)
    with pytest.raises(OSError, match=r"cannot copy .*a\.parquet into .*photographs: .* No space"):
        open_parquet(write(tmp_path / "a.parquet", structs(1)))
