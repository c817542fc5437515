"""Prepared photographs: the same pictures at the size asked for, whole or not at all."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms
from samples import draw_picture

from fst import folder_lock
from fst.config import DataConfig, FolderDataConfig, ParquetDataConfig
from fst.data import prepare as module
from fst.data.prepare import RECORD, Prepared, prepare
from fst.data.sources import Source, describe_source, open_source
from fst.errors import UserError
from fst.training.registry import train

pytestmark = pytest.mark.usefixtures("own_cache")


def quietly(what: str, done: float, total: float) -> None:
    pass


def prepare_folder(folder: Path, output: Path, size: int = 64, quality: int = 95) -> Prepared:
    return prepare(FolderDataConfig(path=str(folder)), output, size, quality, quietly)


def open_prepared(folder: Path) -> Source:
    return open_source(ParquetDataConfig(path=str(folder)))


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(float)


@pytest.fixture
def few_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PER_FILE", 4)


@pytest.mark.usefixtures("few_a_file")
def test_all_pictures_are_there_in_order_scaled_down_and_named(photos: Path, tmp_path: Path):
    done = prepare_folder(photos, tmp_path / "out", 40)
    assert (done.photographs, done.files, done.skipped, done.kept) == (12, 3, [], 0)
    assert done.bytes == sum(f.stat().st_size for f in (tmp_path / "out").glob("*.parquet"))
    before, after = open_source(FolderDataConfig(path=str(photos))), open_prepared(tmp_path / "out")
    assert len(before) == len(after) == 12
    for index in range(12):
        picture, original = after.open(index), before.open(index)
        assert min(picture.size) == 40
        assert picture.width / picture.height == pytest.approx(
            original.width / original.height, rel=0.03
        )
        expected = original.resize(picture.size, Image.Resampling.LANCZOS)
        assert np.abs(pixels(picture) - pixels(expected)).mean() < 3
        assert before.name(index) == str(photos / after.name(index))


def test_small_plain_jpegs_stay_as_they_are_and_others_are_converted(tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = Image.open(draw_picture(tmp_path / "a.png", 0)).convert("RGB").resize((60, 48))
    picture.save(folder / "a.jpg", quality=60)
    sideways = Image.Exif()
    sideways[0x0112] = 6
    picture.save(folder / "b.jpg", exif=sideways)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    picture.save(folder / "c.jpg", icc_profile=lab.tobytes())
    picture.convert("L").save(folder / "d.jpg")
    picture.save(folder / "e.webp")
    adobe_rgb = Image.Exif()
    adobe_rgb[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    picture.save(folder / "f.jpg", exif=adobe_rgb)
    prepare_folder(folder, tmp_path / "out")
    source = open_prepared(tmp_path / "out")
    kept = [source.read_bytes(i) == (folder / source.name(i)).read_bytes() for i in range(6)]
    assert kept == [True, False, False, False, False, False]
    assert source.open(1).size == (48, 60)
    assert all(source.open(i).mode == "RGB" for i in range(6))


@pytest.mark.usefixtures("few_a_file")
def test_an_interrupted_preparation_continues_and_is_not_trained_on_before(
    photos: Path, tmp_path: Path
):
    prepare_folder(photos, tmp_path / "straight")

    def stop(what: str, done: float, total: float) -> None:
        if done == 6:
            raise KeyboardInterrupt

    config, output = FolderDataConfig(path=str(photos)), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare(config, output, 64, 95, stop)
    with pytest.raises(UserError, match="out is not complete: run its `fst prepare` command again"):
        open_prepared(output)
    with pytest.raises(UserError, match="not complete"):
        open_source(ParquetDataConfig(path=str(output / "*.parquet")))
    (output / ".00001-of-00003.1-ab.partial.parquet").write_bytes(b"of a killed process")
    assert prepare_folder(photos, output).kept == 1
    for file in (tmp_path / "straight").iterdir():
        assert (output / file.name).read_bytes() == file.read_bytes()
    assert len(open_prepared(output)) == 12


@pytest.mark.usefixtures("few_a_file")
def test_damaged_and_missing_files_are_written_again_and_whole_ones_kept(
    photos: Path, tmp_path: Path
):
    output = tmp_path / "out"
    prepare_folder(photos, output)
    first, second, third = sorted(output.glob("*.parquet"))
    whole = [file.read_bytes() for file in (first, second, third)]
    first.write_bytes(whole[0][:-9] + b"x" + whole[0][-8:])
    third.unlink()
    again = prepare_folder(photos, output)
    assert (again.kept, again.damaged) == (1, 2)
    assert [file.read_bytes() for file in (first, second, third)] == whole


@pytest.mark.usefixtures("few_a_file")
def test_unusable_pictures_are_named_with_their_reasons(photos: Path, tmp_path: Path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "03.png").write_bytes(b"")
    Image.new("RGB", (400, 8)).save(folder / "more" / "thin.png")
    done = prepare_folder(folder, tmp_path / "out")
    assert done.photographs == 11
    reasons = dict(done.skipped)
    assert reasons.keys() == {"03.png", "more/thin.png"}
    assert "400x8" in reasons["more/thin.png"]
    assert "2 pictures skipped (see prepared.json): 03.png" in str(done)
    assert prepare_folder(folder, tmp_path / "out").skipped == done.skipped
    recorded = json.loads((tmp_path / "out" / RECORD).read_text())["files"].values()
    assert sum(len(file["skipped"]) for file in recorded) == 2


def test_a_disk_that_is_gone_stops_it_and_it_resumes(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "PER_FILE", 50)
    monkeypatch.setattr(module, "MAX_UNUSABLE", 30)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(100):
        Image.new("RGB", (40, 40), (2 * number, 0, 0)).save(folder / f"{number:02}.png")

    def vanish(what: str, done: float, total: float) -> None:
        if done == 50:
            folder.rename(tmp_path / "elsewhere")

    config, output = FolderDataConfig(path=str(folder)), tmp_path / "out"
    with pytest.raises(UserError, match=r"30 pictures in a row .*79.png: no longer exists.*resume"):
        prepare(config, output, 64, 95, vanish)
    (tmp_path / "elsewhere").rename(folder)
    done = prepare_folder(folder, output)
    assert (done.photographs, done.kept) == (100, 1)


def test_other_settings_other_pictures_and_other_folders_are_refused(photos: Path, tmp_path: Path):
    output = tmp_path / "out"
    prepare_folder(photos, output)
    with pytest.raises(UserError, match=r"other pictures or settings \(quality\): name a new"):
        prepare_folder(photos, output, quality=80)
    with pytest.raises(UserError, match=r"other pictures or settings \(source, pictures\)"):
        prepare_folder(photos / "more", output)
    with pytest.raises(UserError, match="photos0 is not empty"):
        prepare_folder(photos, photos)
    (tmp_path / "file").write_text("hello")
    with pytest.raises(UserError, match="file is a file"):
        prepare_folder(photos, tmp_path / "file")
    recorded = json.loads((output / RECORD).read_text())
    (name, entry), *_ = recorded["files"].items()
    for files in (3, [1], {name: 3}, {name: {**entry, "skipped": [1]}}, {name: {"sha256": "a"}}):
        (output / RECORD).write_text(json.dumps({**recorded, "files": files}))
        with pytest.raises(UserError, match=f"{RECORD} is damaged, .*: delete"):
            prepare_folder(photos, output)
    (output / RECORD).write_text('{"settings": 3}')
    with pytest.raises(UserError, match=f"{RECORD} is damaged, .*: delete"):
        prepare_folder(photos, output)
    with pytest.raises(UserError, match="size=16 must be at least 32"):
        prepare_folder(photos, tmp_path / "new", size=16)
    with pytest.raises(UserError, match="quality=0 must be from 1 to 100"):
        prepare_folder(photos, tmp_path / "new", quality=0)
    assert not (tmp_path / "new").exists()


def test_two_processes_do_not_prepare_in_one_folder(photos: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(folder_lock, "TIMEOUT_SECONDS", 0.1)
    refused = []

    def other_process(what: str, done: float, total: float) -> None:
        if done == 6:
            with pytest.raises(
                UserError, match=r"process \d+ on .* is working in .*out: wait"
            ) as error:
                prepare_folder(photos, tmp_path / "out", size=40)
            refused.append(error)

    prepare(FolderDataConfig(path=str(photos)), tmp_path / "out", 64, 95, other_process)
    assert len(refused) == 1
    source = open_prepared(tmp_path / "out")
    assert {min(source.open(index).size) for index in range(12)} == {64}


def test_other_contents_under_the_same_names_are_other_pictures(photos: Path, tmp_path: Path):
    folder, output = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, folder)
    (folder / "00.png").write_bytes(b"damaged")
    assert prepare_folder(folder, output).photographs == 11
    (folder / "00.png").write_bytes(b"still damaged, in another way")
    assert prepare_folder(folder, output).kept == 1
    before = {file.name: file.read_bytes() for file in output.iterdir()}
    (folder / "03.png").write_bytes((folder / "06.png").read_bytes())
    with pytest.raises(UserError, match=r"other pictures or settings \(contents\): name a new"):
        prepare_folder(folder, output)
    assert {file.name: file.read_bytes() for file in output.iterdir()} == before


def test_a_set_without_names_is_told_from_another_of_the_same_sizes(tmp_path: Path):
    def shard(name: str, shades: range) -> Path:
        rows = []
        for shade in shades:
            buffer = io.BytesIO()
            Image.new("RGB", (40, 40), (shade, 0, 0)).save(buffer, "BMP")
            rows.append(buffer.getvalue())
        pq.write_table(pa.table({"image": rows}), tmp_path / name)
        return tmp_path / name

    def prepare_shard(file: Path) -> Prepared:
        return prepare(ParquetDataConfig(path=str(file)), tmp_path / "out", 64, 95, quietly)

    assert prepare_shard(shard("one.parquet", range(40))).photographs == 40
    with pytest.raises(UserError, match=r"other pictures or settings \(source\): name a new"):
        prepare_shard(shard("other.parquet", range(40, 80)))
    assert prepare_shard(tmp_path / "one.parquet").kept == 1


def test_pictures_none_of_which_can_be_used_are_an_error(tmp_path: Path, fst_here):
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(b"no picture")
    done = fst_here("prepare", "photos", "-o", "out")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "no picture can be used: a.jpg photos/a.jpg is not a picture" in done.stderr
    assert not [file for file in (tmp_path / "out").iterdir() if file.name[0] != "."]
    draw_picture(tmp_path / "photos" / "a.jpg", 0)
    assert "1 photographs in 1 file" in fst_here("prepare", "photos", "-o", "out").stdout


def test_what_is_no_picture_or_lies_beside_parquet_files_is_named(photos: Path, tmp_path: Path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "notes.txt").write_text("hello")
    assert "; 1 other files left out (notes.txt)" in str(prepare_folder(folder, tmp_path / "one"))
    mixed = tmp_path / "one"
    draw_picture(mixed / "more.png", 0)
    done = prepare(describe_source(str(mixed), "image", ""), tmp_path / "two", 64, 95, quietly)
    assert "12 photographs in 1 file" in str(done)
    assert str(done).endswith("; 1 other files left out (more.png)")


def test_a_deeply_nested_record_is_a_damaged_one(photos: Path, tmp_path: Path):
    prepare_folder(photos, tmp_path / "out")
    (tmp_path / "out" / RECORD).write_text("[" * 100_000)
    with pytest.raises(UserError, match=f"{RECORD} is damaged, or of an earlier version: delete"):
        prepare_folder(photos, tmp_path / "out")


def test_a_source_is_recognized_by_its_name(photos: Path, tmp_path: Path, monkeypatch):
    def kind(source: str) -> DataConfig:
        return describe_source(source, "image", "data/*")

    prepare_folder(photos, tmp_path / "shards")
    assert kind(str(photos)).kind == "folder"
    assert kind(str(tmp_path / "shards")).kind == "parquet"
    assert kind(str(tmp_path / "shards" / "*.parquet")).kind == "parquet"
    assert kind("coco").kind == "coco"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").mkdir()
    assert kind("coco").kind == "folder"
    with pytest.raises(UserError, match=r"a.jpg is not a folder, a \.parquet file"):
        kind("a.jpg")
    again = prepare(kind("shards"), tmp_path / "smaller", 40, 95, quietly)
    assert again.photographs == 12


def test_training_reads_what_the_command_wrote(fst_here, compose, photos, tmp_path, tiny_overrides):
    done = fst_here("prepare", str(photos), "-o", "shards", "--size", "64")
    assert done.returncode == 0
    assert "12 photographs in 1 file," in done.stdout
    assert "data=parquet data.path=shards" in done.stdout
    overrides = [part for part in tiny_overrides if not part.startswith("data.path=")]
    overrides += ["data=parquet", f"data.path={tmp_path / 'shards'}"]
    assert train(compose(overrides)) == 0
    refused = fst_here("prepare", str(photos), "-o", "shards", "--size", "48")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1


def test_names_in_parquet_files_cannot_steer_the_terminal(fst_here, photos: Path, tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = {"bytes": (photos / "00.png").read_bytes(), "path": "a.png"}
    rows = [good, {"bytes": b"no picture", "path": "\x1b]0;owned\x07.png"}]
    pq.write_table(pa.table({"image": rows}), tmp_path / "of_strangers.parquet")
    done = fst_here("prepare", "of_strangers.parquet", "-o", "out", "--size", "64")
    assert done.returncode == 0
    assert r"1 pictures skipped (see prepared.json): \x1b]0;owned\x07.png" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
