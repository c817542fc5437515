"""Content photographs: what is found, in which order it is seen, and what is skipped."""

import dataclasses
import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from samples import draw_picture

from fst.config import CocoDataConfig, DataConfig, FolderDataConfig, ParquetDataConfig
from fst.data import resident as resident_module
from fst.data.batches import (
    Box,
    ContentDataset,
    content_batches,
    open_data,
)
from fst.data.heldout import heldout_of, read_squares
from fst.data.resident import ResidentDataset
from fst.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


def folder_config(path: Path, **changes: object) -> FolderDataConfig:
    changes = {
        "crop_px": 32,
        "margin_px": 0,
        "heldout_images": 2,
        "heldout_px": 40,
        "workers": 0,
    } | changes
    return FolderDataConfig(path=str(path), **changes)  # type: ignore[arg-type]


def batches(config: DataConfig, start: int, end: int, seed: int = 0, **how) -> list[torch.Tensor]:
    found = content_batches(open_data(config, seed).train, 4, start, end, **how)
    return [images for images, _ in found]


def colours(folder: Path, count: int) -> Path:
    """Write pictures of one colour each, by which a crop is recognized."""
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (48, 40), (20 * i, 255 - 20 * i, 128)).save(folder / f"{i:02}.png")
    return folder


def which(crops: torch.Tensor) -> list[int]:
    return [round(crop[0].float().mean().item() / 20) for crop in crops]


def test_pictures_are_found_at_any_depth_and_other_files_are_named(photos: Path, tmp_path: Path):
    assert len(open_data(folder_config(photos), 0).train.indices) == 10
    folder = colours(tmp_path / "colours", 4)
    (folder / "notes.txt").write_text("hello")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "00.png").rename(folder / "no_suffix")  # its content says what it is
    summary = open_data(folder_config(folder, heldout_images=1), 0).summary
    assert summary.startswith("3 photographs to train on, 1 held out; 1 other files skipped")
    assert "notes.txt" in summary


def test_each_pass_sees_every_picture_once_in_its_own_order(tmp_path: Path):
    config = folder_config(colours(tmp_path / "colours", 12), heldout_images=0)
    passes = [which(torch.cat(batches(config, 12 * i, 12 * i + 12))) for i in range(3)]
    assert all(sorted(seen) == list(range(12)) for seen in passes)
    assert passes[0] != passes[1] != passes[2]
    other_seed = which(torch.cat(batches(config, 0, 12, seed=1)))
    assert other_seed != passes[0]


def test_a_resumed_run_sees_the_tail_of_the_uninterrupted_one(photos: Path):
    straight = batches(folder_config(photos), 0, 40)
    for start in (4, 12, 28):
        resumed = batches(folder_config(photos), start, 40)
        assert all(torch.equal(a, b) for a, b in zip(straight[start // 4 :], resumed, strict=True))


def test_neither_workers_nor_processes_change_what_is_seen(photos: Path):
    alone = batches(folder_config(photos), 0, 24)
    helped = batches(folder_config(photos), 0, 24, workers=2)
    shared = [batches(folder_config(photos), 0, 24, rank=r, world_size=2) for r in (0, 1)]
    for i, whole in enumerate(alone):
        assert torch.equal(helped[i], whole)
        assert torch.equal(torch.cat([shared[0][i], shared[1][i]]), whole)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_long_schedule_takes_no_memory(photos: Path, workers: int):
    data = open_data(folder_config(photos), 0).train
    tracemalloc.start()
    images, _ = next(content_batches(data, 4, 0, 2_000_000, workers=workers))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert images.shape == (4, 3, 32, 32)
    assert peak < 10e6  # its positions as lists are 60 MB


def test_crops_are_inside_the_picture_scaled_and_sometimes_mirrored(tmp_path: Path):
    x = np.linspace(0, 255, 200).astype(np.uint8)
    ramp = np.broadcast_to(x[None, :, None], (100, 200, 3))
    folder = tmp_path / "ramp"
    folder.mkdir()
    Image.fromarray(np.ascontiguousarray(ramp)).save(folder / "ramp.png")
    crops = torch.cat(batches(folder_config(folder), 0, 400)).float()
    slope = crops[:, 0, 16, 30] - crops[:, 0, 16, 1]
    assert 0.4 < (slope < 0).float().mean() < 0.6  # mirrored
    share = slope.abs() / 29 * 32 / 255 * 2  # of the shorter side
    assert 0.45 < share.min() < 0.6
    assert 0.9 < share.max() < 1.05
    assert crops.min() < 15
    assert crops.max() > 240  # every part is seen


def test_unusable_pictures_are_replaced_and_reported_and_the_others_are_unchanged(tmp_path: Path):
    folder = colours(tmp_path / "colours", 12)
    clean = folder_config(folder, heldout_images=0)
    before = torch.cat(batches(clean, 0, 12))
    whole = (folder / "03.png").read_bytes()
    (folder / "03.png").write_bytes(whole[: len(whole) // 2])
    (folder / "05.png").write_bytes(b"")
    Image.new("RGB", (400, 8)).save(folder / "07.png")
    found = list(content_batches(open_data(clean, 0).train, 4, 0, 12))
    after = torch.cat([images for images, _ in found])
    reasons = {Path(name).name: reason for _, skipped in found for name, reason in skipped}
    assert reasons.keys() == {"03.png", "05.png", "07.png"}
    assert "400x8" in reasons["07.png"]
    for old, new, name in zip(before, after, which(before), strict=True):
        assert torch.equal(old, new) == (name not in (3, 5, 7))
    assert not {3, 5, 7} & set(which(after))


def test_pictures_of_every_kind_are_used(tmp_path: Path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    picture = Image.open(draw_picture(tmp_path / "a.png", 0))
    picture.convert("L").save(folder / "grey.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("RGBA").save(folder / "alpha.png")
    picture.save(folder / "animated.gif", save_all=True, append_images=[picture])
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(folder / "16bit.png")
    picture.save(folder / "tall.webp")
    found = list(content_batches(open_data(folder_config(folder), 0).train, 4, 0, 24))
    assert not [skipped for _, skipped in found if skipped]


def test_only_unusable_pictures_are_an_error(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    data = open_data(folder_config(tmp_path), 0)
    with pytest.raises(ValueError, match=r"100 pictures in a row are unusable.*a.jpg"):
        next(content_batches(data.train, 4, 0, 4))


def test_links_to_forbidden_places_are_skipped_counted_and_named(tmp_path: Path):
    folder = colours(tmp_path / "colours", 4)
    for name in ("forbidden.jpg", "notes"):
        (folder / name).symlink_to("x" * 300)
    data = open_data(folder_config(folder, heldout_images=0), 0)
    assert data.summary.endswith("1 other files skipped (notes)")
    found = list(content_batches(data.train, 4, 0, 20))
    skipped = {Path(name).name: reason for _, skipped in found for name, reason in skipped}
    assert skipped.keys() == {"forbidden.jpg"}
    assert "File name too long" in skipped["forbidden.jpg"]


def test_an_empty_folder_is_an_error(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FileNotFoundError, match="holds no pictures"):
        open_data(folder_config(tmp_path), 0)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        folder_config(tmp_path / "missing")


def test_camera_raw_is_skipped_and_named(tmp_path: Path):
    raw = b"II*\0\x10\0\0\0CR\x02\0" + bytes(200)
    folder = colours(tmp_path / "mixed", 3)
    (folder / "a.cr2").write_bytes(raw)
    summary = open_data(folder_config(folder), 0).summary
    assert summary.endswith("1 other files skipped (a.cr2)")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.cr2").write_bytes(raw)
    with pytest.raises(FileNotFoundError, match="but camera raw files, to be developed first"):
        open_data(folder_config(tmp_path / "raw"), 0)


def test_fewer_pictures_than_a_batch_fill_it(tmp_path: Path):
    one = folder_config(colours(tmp_path / "one", 1))
    assert open_data(one, 0).heldout.shape == (0, 3, 40, 40)
    assert which(batches(one, 0, 4)[0]) == [0, 0, 0, 0]


def test_held_out_pictures_are_never_trained_on(tmp_path: Path):
    data = open_data(folder_config(colours(tmp_path / "colours", 12), heldout_images=4), 0)
    heldout = set(which(data.heldout))
    seen = set(which(torch.cat([i for i, _ in content_batches(data.train, 4, 0, 32)])))
    assert len(heldout) == 4
    assert seen == set(range(12)) - heldout


def test_held_out_pictures_may_have_their_own_folder(photos: Path, tmp_path: Path):
    apart = colours(tmp_path / "apart", 3)
    (apart / "00.png").write_bytes(b"broken")
    data = open_data(folder_config(photos, heldout_path=str(apart), heldout_images=2), 0)
    assert which(data.heldout) == [1, 2]
    assert "not held out" in data.summary
    assert len(data.train.indices) == 12


def test_held_out_pictures_of_a_model_are_found_again(compose, tiny_overrides, photos):
    drawn = compose(tiny_overrides)
    held_out = open_data(drawn.data, drawn.seed).heldout
    again, _ = heldout_of(dataclasses.asdict(drawn), 12, 48)  # it held out two
    assert torch.equal(again, held_out)
    apart = compose([*tiny_overrides, f"data.heldout_path={photos / 'more'}"])
    found, skipped = heldout_of(dataclasses.asdict(apart), 12, 40)
    assert torch.equal(found, read_squares(photos / "more", 12, 40)[0])
    assert (found.shape, skipped) == ((8, 3, 40, 40), [])
    with pytest.raises(UserError, match="does not say what it was trained on"):
        heldout_of({}, 2, 48)
    with pytest.raises(FileNotFoundError, match="missing is not a folder"):
        read_squares("missing", 2, 48)


@pytest.mark.parametrize("kind", ["coco", "parquet"])
def test_a_model_file_cannot_have_a_data_set_opened(compose, tiny_overrides, monkeypatch, kind):
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a builder that a model file names was called")

    monkeypatch.setattr("datasets.load_dataset", fail)
    written = dataclasses.asdict(compose(tiny_overrides))
    written["data"] |= {"kind": kind, "path": "someone/their-data", "image_column": "image"}
    with pytest.raises(UserError, match=f"trained on data={kind}, and only folders"):
        heldout_of(written, 2, 48)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 3}, "in an unknown way"),
        ({"data": {}}, "in an unknown way"),
        ({"data": {"kind": "imagefolder", "path": "/tmp", "heldout_path": None}}, "unknown way"),
        ({"seed": "0"}, "in an unknown way"),
        ({"seed": -1}, "in an unknown way"),
        ({"runs_dir": None}, "in an unknown way"),
        ({"data": {"heldout_path": r"\\host\share"}}, "not a folder of this machine"),
        ({"data": {"heldout_path": "//host/share"}}, "not a folder of this machine"),
    ],
)
def test_what_a_model_file_says_of_its_training_is_validated(
    compose, tiny_overrides, changes, message: str
):
    written = dataclasses.asdict(compose(tiny_overrides)) | changes
    with pytest.raises(UserError, match=message):
        heldout_of(written, 2, 48)


def test_a_model_file_cannot_have_a_negative_number_of_pictures_read(compose, tiny_overrides):
    written = dataclasses.asdict(compose(tiny_overrides))
    written["data"]["heldout_images"] = -5
    with pytest.raises(UserError, match="heldout_images=-5 must be at least 0"):
        heldout_of(written, 2, 48)


def test_parquet_and_coco_s_layout_give_the_pictures_of_a_folder(photos: Path, tmp_path: Path):
    import datasets

    files = sorted(photos.rglob("*.png"))
    rows = {
        "image_id": list(range(len(files))),
        "image": [{"bytes": file.read_bytes(), "path": None} for file in files],
    }
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    (tmp_path / "coco" / "data").mkdir(parents=True)
    table.to_parquet(tmp_path / "coco" / "data" / "train-00000-of-00001.parquet")
    same = {"crop_px": 32, "margin_px": 0, "heldout_images": 0, "heldout_px": 40}
    expected = batches(folder_config(photos, heldout_images=0), 0, 12)
    parquet = ParquetDataConfig(path=str(tmp_path / "coco" / "data"), **same)
    coco = CocoDataConfig(path=str(tmp_path / "coco"), **same)
    for config in (parquet, coco):
        assert all(torch.equal(a, b) for a, b in zip(batches(config, 0, 12), expected, strict=True))
    with pytest.raises(ValueError, match="no column 'photo', but image_id, image"):
        open_data(ParquetDataConfig(path=parquet.path, image_column="photo"), 0)
    with pytest.raises(FileNotFoundError, match="holds no parquet files"):
        open_data(ParquetDataConfig(path=str(photos)), 0)


def test_an_unreachable_hub_suggests_what_to_do_instead(monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(FileNotFoundError, match=r"Couldn't reach.*data=folder data.path=DIR"):
        open_data(CocoDataConfig(), 0)


def test_a_dataset_can_be_sent_to_a_worker(photos: Path):
    dataset = open_data(folder_config(photos), 0).train
    assert isinstance(dataset, ContentDataset)
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[5][0], dataset[5][0])


def test_resident_pictures_give_the_same_crops_and_skip_the_same_ones(
    photos: Path, tmp_path: Path, monkeypatch
):
    drawn = ContentDataset.box

    def whole_pixels(self: ContentDataset, *arguments) -> Box:
        left, top, side, mirrored = drawn(self, *arguments)
        return Box(round(left), round(top), round(side), mirrored)

    monkeypatch.setattr(ContentDataset, "box", whole_pixels)
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "03.png").write_bytes(b"")
    data = open_data(folder_config(folder, crop_px=48), 0).train
    resident = ResidentDataset(data, torch.device("cpu"))
    expected = [data[position] for position in range(40)]
    shutil.rmtree(folder)
    for position, (one, skipped) in enumerate(expected):
        other, also_skipped = resident[position]
        assert skipped == also_skipped
        assert other.dtype == torch.uint8
        assert (one.float() - other.float()).abs().mean() < 1  # of 255


def test_more_resident_pictures_than_memory_holds_are_refused(tmp_path: Path, monkeypatch):
    data = open_data(folder_config(colours(tmp_path / "colours", 12)), 0).train
    monkeypatch.setattr(resident_module, "_TRIED", 2)
    monkeypatch.setattr(resident_module, "available_bytes", lambda device: 70_000)
    with pytest.raises(UserError, match="data.resident=true would take .*fst prepare"):
        ResidentDataset(data, torch.device("cpu"))
