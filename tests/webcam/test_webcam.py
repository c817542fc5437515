"""The webcam with fake cameras and networks: no display, no device."""

import itertools
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fst.errors import CameraLostError, UserError
from fst.stylizing.look import Look
from fst.video.reader import VideoReader
from fst.video.writer import VideoWriter
from fst.webcam import command as webcam_module
from fst.webcam import live
from fst.webcam.camera import Camera, CameraFrame
from fst.webcam.command import webcam
from fst.webcam.live import (
    ClosedError,
    Latest,
    LiveModel,
    Pipeline,
    Recorder,
    Result,
    Settings,
    changes_picture,
    recording_path,
    stylize_frame,
)
from fst.webcam.viewer import Viewer, Window, press
from fst.webcam.working_size import HEADROOM, LagRule, choose_size, fitting_size

SETTINGS = Settings(size=48)


def frames(count: int | None = None, period: float = 0.005):
    """A camera: frame i is full of i."""
    for index in range(count) if count else itertools.count():
        time.sleep(period)
        yield CameraFrame(np.full((48, 64, 3), index % 256, np.uint8), time.monotonic())


def slowly(steps):
    for step in steps:
        time.sleep(0.005)
        yield step


def unplug(after: int):
    yield from frames(after)
    raise CameraLostError("unplugged")


def slow_model(seconds: float) -> LiveModel:
    def stylize(pixels, look):
        time.sleep(seconds)
        return pixels

    return LiveModel(f"takes {seconds} s", stylize)


class Video:
    """Replaces `fst.video.writer.VideoWriter`."""

    def __init__(self, path, width, height, rate, *, survives_kill):
        self.path, self.size = path, (height, width)
        self.times, self.closed = [], False
        assert survives_kill
        path.touch()
        Video.made.append(self)

    def write(self, frame, seconds):
        assert frame.shape[:2] == self.size and not self.closed
        self.times.append(seconds)

    def close(self):
        self.closed = True


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Video.made = []
    monkeypatch.setattr(live, "VideoWriter", Video)
    return Video.made


def recorder(said: list[str] | None = None) -> Recorder:
    return Recorder(Path("asked.mp4"), 64, 48, 24, ([] if said is None else said).append)


def run(pipeline: Pipeline) -> list[tuple[float, Result]]:
    """Return the results with their ages in seconds when they came out."""
    pipeline.start()
    shown = []
    try:
        while True:
            result = pipeline.results.get(5)
            shown.append((time.monotonic() - result.captured, result))
    except ClosedError:
        pipeline.finish()
    return shown


def test_the_newest_item_wins_and_put_never_waits():
    slot = Latest()
    for item in range(1000):
        slot.put(item)
    assert slot.get(0) == 999
    assert slot.get(0.01) is None


def test_closing_wakes_waiting_threads_but_keeps_the_last_item():
    slot = Latest()
    threading.Timer(0.05, slot.close).start()
    with pytest.raises(ClosedError):
        slot.get(60)

    slot = Latest()
    slot.put("last")
    slot.close()
    assert slot.get(60) == "last"
    with pytest.raises(ClosedError):
        slot.get(60)
    with pytest.raises(ClosedError):
        slot.put("too late")


@pytest.mark.parametrize("network", [0.02, 0.1])
def test_latency_is_bounded_however_slow_the_network(network: float):
    captured: list[float] = []

    def camera():
        for frame in frames(period=0.002):
            captured.append(frame.captured)
            yield frame

    shown = run(Pipeline(camera(), [slow_model(network)], SETTINGS, [recorder()], count=16))

    def newer(result: Result, age: float) -> int:
        """Frames that were captured until the result had this age: busy machines capture fewer."""
        return sum(result.captured < time <= result.captured + age for time in captured)

    behind = [newer(result, age) for age, result in shown]
    while_stylizing = [newer(result, result.seconds) for _, result in shown]
    # A queue would be behind by as many more with each of the sixteen frames.
    assert statistics.median(behind[-8:]) < 2 * statistics.median(while_stylizing) + 10


def test_a_slow_network_drops_frames_and_keeps_their_order():
    shown = run(Pipeline(frames(100), [slow_model(0.05)], SETTINGS, [recorder()]))
    numbers = [int(result.pixels[0, 0, 0]) for _, result in shown]
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 50
    assert numbers[-1] == 99  # the last one captured is not lost


def test_an_unplugged_camera_ends_the_pipeline_with_the_recording_finished(videos: list[Video]):
    said: list[str] = []
    recording = replace(SETTINGS, recording=True)
    with pytest.raises(CameraLostError, match="unplugged"):
        run(Pipeline(unplug(after=20), [slow_model(0.001)], recording, [recorder(said)]))
    (video,) = videos
    assert video.closed and len(video.times) > 3
    assert said == ["recorded asked.mp4"]


def test_a_camera_that_stalls_is_lost(videos: list[Video]):
    gone = threading.Event()

    def stalling():
        yield from frames(5)
        gone.wait(30)

    recording = replace(SETTINGS, recording=True)
    pipeline = Pipeline(stalling(), [slow_model(0)], recording, [recorder()], patience=0.3)
    started = time.monotonic()
    with pytest.raises(CameraLostError, match=r"no frame for 0\.3 s"):
        run(pipeline)
    assert time.monotonic() - started < 5
    assert videos[0].closed
    gone.set()


def test_an_error_of_the_network_reaches_the_caller():
    def fail(pixels, look):
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        run(Pipeline(frames(), [LiveModel("broken", fail)], SETTINGS, [recorder()]))


def test_each_stretch_of_recording_is_a_file_with_the_times_of_capture(videos: list[Video]):
    said: list[str] = []
    writer = recorder(said)
    on = [True, True, False, True, True, True]
    for index, recording in enumerate(on):
        pixels = np.zeros((48 + 8 * index, 64, 3), np.uint8)  # the size is changed meanwhile
        settings = replace(SETTINGS, recording=recording)
        writer.write(Result(pixels, captured=100 + index**2, seconds=0.0, settings=settings))
    writer.close()
    assert [video.times for video in videos] == [[0, 1], [0, 7, 16]]
    assert all(video.closed and video.size == (48, 64) for video in videos)  # the camera's size
    assert said[0] == "recorded asked.mp4"
    # While recording, files have another name.
    recorded = [Path(line.removeprefix("recorded ")) for line in said]
    assert [video.path for video in videos] == [recording_path(path) for path in recorded]
    assert all(path.exists() and not recording_path(path).exists() for path in recorded)


def test_a_killed_recording_is_kept_and_never_overwritten(tmp_path: Path):
    pytest.importorskip("av")
    code = """
import os, signal
from pathlib import Path
import numpy as np
from fst.webcam.live import Recorder, Result, Settings
recorder = Recorder(Path("out.mp4"), 64, 48, 24, print)
random = np.random.default_rng(0)
for number in range(96):
    pixels = random.integers(0, 255, (24, 32, 3), dtype=np.uint8)
    recorder.write(Result(pixels, number / 24, 0.0, Settings(size=24, recording=True)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    left = tmp_path / "out.recording.mp4"
    assert list(tmp_path.iterdir()) == [left]
    assert len(times_of(left)) >= 24  # of 96: the last second and the encoder's frames are lost
    before = left.read_bytes()
    with pytest.raises(FileExistsError, match=r"out\.recording\.mp4 is left from a recording"):
        webcam(["model"], camera="0", headless=True, output=tmp_path / "out.mp4")
    assert left.read_bytes() == before


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("n", {"model": 2}),
        ("p", {"model": 0}),
        ("3", {"model": 2}),
        ("4", {}),  # there are three
        ("+", {"look": Look(0.6)}),
        ("=", {"look": Look(0.6)}),
        ("-", {"look": Look(0.4)}),
        ("]", {"size": 240, "automatic": False}),
        ("[", {"size": 160, "automatic": False}),
        ("c", {"look": Look(0.5, keep_colors=True)}),
        ("r", {"recording": True}),
        ("h", {"help": True}),
        ("t", {"text": False}),
        ("x", {}),
        ("", {}),
    ],
)
def test_keys_change_the_settings(key: str, changed: dict):
    before = Settings(size=200, model=1, look=Look(0.5), automatic=True)
    assert press(before, key, 3, 720) == replace(before, **changed)


def test_keys_stay_within_bounds():
    settings = Settings(size=200)
    for key in "+++nn":
        settings = press(settings, key, 2, 480)
    assert (settings.look.strength, settings.model) == (1.0, 0)
    for _ in range(20):
        settings = press(press(settings, "-", 1, 480), "]", 1, 480)
    assert (settings.look.strength, settings.size) == (0.0, 480)
    for _ in range(40):
        settings = press(settings, "[", 1, 480)
    assert settings.size == 64
    for _ in range(20):
        settings = press(settings, "+", 1, 480, 1.5)
    assert settings.look.strength == 1.5
    assert press(settings, "-", 1, 480).look.strength == 0.9  # of a model that ends at 1


def test_a_strength_above_one_is_for_the_models_that_have_it():
    taken: list[float] = []

    def stylize(pixels, look):
        taken.append(look.strength)
        return pixels

    frame = np.zeros((24, 32, 3), np.uint8)
    for model in (LiveModel("one style", stylize), LiveModel("any", stylize, "", 1.5)):
        stylize_frame(model, frame, Settings(size=24, look=Look(1.3)))
    assert taken == [1.0, 1.3]


@pytest.mark.parametrize("fps", [5, 24, 60])
@pytest.mark.parametrize("microseconds_a_pixel", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("overhead_ms", [0, 4])
def test_the_size_chosen_reaches_the_rate(fps, microseconds_a_pixel, overhead_ms):
    def seconds_at(size: int) -> float:
        return overhead_ms / 1e3 + size * size * 16 / 9 * microseconds_a_pixel / 1e6

    size, seconds = choose_size(seconds_at, fps, largest=720)
    assert seconds == seconds_at(size) <= HEADROOM / fps
    assert size == 720 or seconds_at(size + 16) > 0.9 * HEADROOM / fps  # and not much smaller


def test_a_machine_that_is_too_slow_gets_the_smallest_size():
    assert choose_size(lambda size: size * 0.1, fps=24, largest=720) == (64, 6.4)
    assert fitting_size(100, 60.0, 24, largest=48) == 48  # a camera smaller than that


def test_an_automatic_size_is_lowered_after_five_seconds_of_lag():
    automatic = Settings(size=400, automatic=True)
    rule = LagRule(fps=24)
    result = Result(np.zeros((1, 1, 3), np.uint8), 0.0, 4 / 24 * HEADROOM, automatic)
    sizes = [rule.size(result) for _ in range(40)]
    lag = sizes.index(200)  # a quarter of the pixels
    assert lag * result.seconds < 5 <= (lag + 2) * result.seconds
    assert set(sizes[:lag]) == {400}

    fast = LagRule(fps=24)
    assert {fast.size(replace(result, seconds=0.04)) for _ in range(300)} == {400}


class FakeWindow:
    """Records what is shown and presses the keys one after the other, finally `q`."""

    def __init__(self, keys: str):
        self.keys = iter(keys)
        self.shown: list[list[str]] = []

    def show(self, pixels, lines, recording):
        self.pixels = pixels
        self.shown.append([*lines, "REC"] if recording else lines)

    def key(self):
        return next(self.keys, "q")


def test_the_window_reacts_while_the_network_works(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    window = FakeWindow("hcrs-")
    pipeline = Pipeline(
        frames(), [slow_model(2)], SETTINGS, [Recorder(None, 64, 48, 24, said.append)]
    )
    first = next(frames()).pixels
    started = time.monotonic()
    viewer = Viewer(pipeline, window, first, 24, said.append)
    viewer.run()
    assert time.monotonic() - started < 4  # it waits for one frame at most, not for six

    assert len(window.shown) == 5  # h, c, r and - each changed what is shown
    assert any("help" in line for line in window.shown[1])
    assert "camera's colours" in window.shown[2][0]
    assert "REC" in window.shown[-1] and "strength 0.9" in window.shown[-1][0]
    (saved,) = tmp_path.glob("fst-*.png")
    assert said == [f"saved {saved.name}", "no frame was stylized"]


def test_text_can_be_hidden_and_is_never_in_captures(videos, tmp_path):
    window = FakeWindow("ststhth")
    pipeline = Pipeline(frames(), [slow_model(2)], SETTINGS, [recorder()])
    first = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Viewer(pipeline, window, first, 24, lambda line: time.sleep(0.002)).run()
    shown, hidden, again, helped, still, nothing = window.shown  # s changes nothing
    assert len(shown) == len(again) == 2
    assert hidden == nothing == []
    assert len(helped) == len(still) > 8  # help is shown with or without the text
    captures = list(tmp_path.glob("fst-*.png"))
    assert len(captures) == 2
    for capture in captures:
        assert np.array_equal(np.asarray(Image.open(capture)), first)


def test_the_window_darkens_a_strip_only_below_text():
    shown = []
    fake = SimpleNamespace(
        FONT_HERSHEY_SIMPLEX=0,
        LINE_AA=0,
        imshow=lambda title, canvas: shown.append(canvas),
        putText=lambda *_: None,
    )
    window = Window.__new__(Window)
    window._cv2 = fake
    pixels = np.full((540, 540, 3), 90, np.uint8)
    for lines in (["text"], []):
        window.show(pixels, lines, recording=True)
    with_text, without = shown
    assert (with_text[:42] == 30).all() and (with_text[42:] == 90).all()
    assert np.array_equal(without, pixels)


@pytest.fixture
def video_file(tmp_path: Path) -> Path:
    """One second of 30 frames."""
    av = pytest.importorskip("av")
    pytest.importorskip("cv2")
    path = tmp_path / "camera.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for index in range(30):
            pixels = np.full((72, 96, 3), 8 * index, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


def times_of(path: Path) -> list[float]:
    import av

    with av.open(str(path)) as file:
        return [frame.time for frame in file.decode(video=0)]


def test_a_file_is_played_like_a_camera_at_its_own_rate(video_file, tmp_path, monkeypatch):
    monkeypatch.setattr(webcam_module, "_load", lambda model, device: slow_model(0.1))
    output = tmp_path / "out.mp4"
    said: list[str] = []
    started = time.monotonic()
    webcam(["slow"], camera=str(video_file), size=64, headless=True, output=output, say=said.append)
    assert 0.9 < time.monotonic() - started < 3  # slowed down to the network it would take 3 s
    times = times_of(output)
    assert 3 < len(times) < 14  # of 30
    assert times == sorted(times) and 0.7 < times[-1] - times[0] < 1.2
    assert said[0] == f"recorded {output}" and "(95%)" in said[1]
    with VideoReader(output) as reader:
        assert (reader.width, reader.height) == (96, 72)  # the camera's, not the working size

    with pytest.raises(FileExistsError, match="already exists"):
        webcam(["slow"], camera=str(video_file), headless=True, output=output)


def anamorphic(path: Path, degrees: int = 0) -> Path:
    """A second of 96x72 pixels that are shown as 128x72."""
    av = pytest.importorskip("av")
    pytest.importorskip("cv2")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 96, 72
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        if degrees:
            stream.set_display_rotation(degrees)
        for index in range(25):
            pixels = np.full((72, 96, 3), 8 * index, np.uint8)
            pixels[:, :48, 0] = 200
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(("degrees", "shape"), [(0, (72, 128, 3)), (90, (128, 72, 3))])
def test_a_file_with_wide_pixels_is_shown_as_wide(tmp_path: Path, degrees: int, shape: tuple):
    camera = Camera(str(anamorphic(tmp_path / "clip.mp4", degrees)))
    assert camera.is_file
    assert camera.first.shape == shape
    shown = list(camera)
    assert {frame.pixels.shape for frame in shown} == {shape}
    assert [frame.captured for frame in shown] == sorted(frame.captured for frame in shown)
    assert np.array_equal(shown[0].pixels, camera.first)  # and never mirrored


def test_a_camera_that_is_a_playlist_opens_no_other_file(video_file: Path):
    playlist = video_file.parent / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile '{video_file.name}'\n")
    with pytest.raises(UserError, match=r"camera .*list\.mp4.*none of the formats.*--camera"):
        Camera(str(playlist))


def test_a_pipe_as_camera_is_refused_rather_than_waited_for(tmp_path: Path):
    pytest.importorskip("cv2")
    os.mkfifo(tmp_path / "camera")
    with pytest.raises(UserError, match=r"camera .*not a file.*--camera accepts an index"):
        Camera(str(tmp_path / "camera"))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_recording_begins_at_zero(tmp_path: Path, suffix: str):
    pytest.importorskip("av")
    path = tmp_path / f"out{suffix}"
    recorder = Recorder(path, 64, 48, 4, lambda _: None)
    for number in range(9):
        pixels = np.full((48, 64, 3), 20 * number, np.uint8)
        recorder.write(Result(pixels, 1000 + number / 4, 0.0, Settings(48, recording=True)))
    recorder.close()
    assert times_of(path) == pytest.approx([number / 4 for number in range(9)], abs=0.001)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_ends_a_recording_with_its_own_message(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    av = pytest.importorskip("av")
    path = tmp_path / f"out{suffix}"
    write = VideoWriter.write

    def fill(self, frame, seconds):
        write(self, frame, seconds)
        if seconds > 1:  # from now on nothing can be written, as to /dev/full
            monkeypatch.setattr(VideoWriter, "close", fail(av.error.ArgumentError, 22))
            raise av.error.OSError(28, "No space left on device", str(path))

    def fail(kind, number):
        def close(self):
            raise kind(number, "Invalid argument", str(path))

        return close

    monkeypatch.setattr(VideoWriter, "write", fill)
    recording = replace(SETTINGS, recording=True)
    steps = (CameraFrame(np.full((48, 64, 3), 9, np.uint8), number / 24) for number in range(60))
    outputs = [Recorder(path, 64, 48, 24, print)]
    with pytest.raises(OSError) as failed:
        run(Pipeline(slowly(steps), [slow_model(0)], recording, outputs))
    left = recording_path(path)
    said = f"cannot record to {left}: No space left on device; the file can be played as far as"
    assert str(failed.value).startswith(said)
    assert len(times_of(left)) >= 1
    assert not path.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_disk_that_is_full_from_the_start_is_named(tmp_path: Path):
    pytest.importorskip("av")
    recording_path(tmp_path / "out.mp4").symlink_to("/dev/full")
    recorder = Recorder(tmp_path / "out.mp4", 64, 48, 24, lambda _: None)
    pixels = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(OSError, match=r"cannot record to .*out\.recording\.mp4: No space left"):
        recorder.write(Result(pixels, 0.0, 0.0, Settings(48, recording=True)))
    recorder.close()  # has nothing left to finish


def test_a_size_is_chosen_and_reported(video_file, monkeypatch):
    monkeypatch.setattr(webcam_module, "_load", lambda model, device: slow_model(0.001))
    said: list[str] = []
    webcam(["fast"], camera=str(video_file), headless=True, frames=3, say=said.append)
    assert said[0].startswith("working size 72 px (camera: 96x72): the network takes")
    assert said[1].startswith("3 frames, ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_file(video_file, tmp_path, monkeypatch, number):
    calls = itertools.count()

    def stylize(pixels, look):
        if next(calls) == 5:
            os.kill(os.getpid(), number)
        return pixels

    monkeypatch.setattr(webcam_module, "_load", lambda model, device: LiveModel("model", stylize))
    output = tmp_path / "out.mp4"
    webcam(
        ["model"], camera=str(video_file), size=64, headless=True, output=output, say=lambda _: None
    )
    assert 3 <= len(times_of(output)) < 25


@pytest.mark.parametrize("camera", ["97", "nowhere.mp4", __file__])
def test_a_missing_camera_is_reported_clearly(camera: str, capfd: pytest.CaptureFixture[str]):
    pytest.importorskip("cv2")
    with pytest.raises(ValueError, match=r"camera .*--camera accepts an index, a video file or"):
        webcam(["model"], camera=camera, headless=True, frames=1)
    assert capfd.readouterr() == ("", "")  # OpenCV prints nothing


@pytest.mark.skipif(not Path("/proc").exists(), reason="other systems always have a display")
def test_without_a_display_the_message_names_headless(monkeypatch):
    pytest.importorskip("cv2")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ValueError, match="--headless"):
        webcam(["model"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": []}, "no model"),
        ({"headless": True}, "--output"),
        ({"fps": 0}, "fps=0"),
        ({"size": 8}, "size=8"),
        ({"strength": 1.6}, "strength=1.6"),
        ({"smooth": 1.0}, "smooth=1.0"),
        ({"frames": 0}, "frames=0"),
    ],
)
def test_options_out_of_range_are_reported(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        webcam(**{"models": ["model"], **options})


def test_without_opencv_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install 'fst-style-transfer\[webcam\]'"):
        webcam(["model"], headless=True, frames=1)


class FakeVirtualCamera:
    """Replaces `pyvirtualcam.Camera`."""

    device = "/dev/video7"

    def __init__(self, width: int, height: int, fps: float):
        self.shape, self.fps = (height, width, 3), fps
        self.sent: list[np.ndarray] = []
        self.closed = 0
        FakeVirtualCamera.made.append(self)

    def send(self, frame: np.ndarray):
        assert frame.shape == self.shape and frame.dtype == np.uint8 and not self.closed
        self.sent.append(frame)

    def close(self):
        self.closed += 1


@pytest.fixture
def virtual_cameras(monkeypatch: pytest.MonkeyPatch):
    FakeVirtualCamera.made = []
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=FakeVirtualCamera))
    return FakeVirtualCamera.made


def test_the_virtual_camera_gets_clean_pictures_of_the_cameras_size(
    video_file, virtual_cameras, monkeypatch
):
    def black(pixels, look):
        assert pixels.shape == (64, 86, 3)  # the working size
        return np.zeros_like(pixels)

    monkeypatch.setattr(webcam_module, "_load", lambda model, device: LiveModel("model", black))
    said: list[str] = []
    webcam(
        ["model"],
        camera=str(video_file),
        size=64,
        fps=30,
        virtual=True,
        headless=True,
        say=said.append,
    )
    (virtual,) = virtual_cameras
    assert (virtual.shape, virtual.fps, virtual.closed) == ((72, 96, 3), 30, 1)
    assert len(virtual.sent) > 3
    assert not any(frame.any() for frame in virtual.sent)  # no text either
    assert said[0] == "virtual camera: /dev/video7"


def test_the_virtual_camera_is_closed_when_the_network_fails(
    video_file, virtual_cameras, monkeypatch
):
    def fail(pixels, look):
        raise ValueError("no such thing")

    monkeypatch.setattr(webcam_module, "_load", lambda model, device: LiveModel("model", fail))
    with pytest.raises(ValueError, match="no such thing"):
        webcam(
            ["model"],
            camera=str(video_file),
            size=64,
            virtual=True,
            headless=True,
            say=lambda _: None,
        )
    assert virtual_cameras[0].closed == 1


def test_a_missing_virtual_camera_is_reported_in_one_line(video_file, monkeypatch):
    def refuse(width, height, fps):
        raise RuntimeError("'a' backend: No device found.\n'b' backend: not installed")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=refuse))
    with pytest.raises(
        UserError, match="no virtual camera can be opened.*No device found"
    ) as error:
        webcam(["model"], camera=str(video_file), virtual=True, headless=True)
    assert "\n" not in str(error.value)
    assert ("v4l2loopback" if sys.platform == "linux" else "OBS") in str(error.value)


def test_without_pyvirtualcam_the_message_names_the_extra(video_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(ImportError, match=r"pip install 'fst-style-transfer\[virtual\]'"):
        webcam(["model"], camera=str(video_file), virtual=True, headless=True)


def test_smoothing_reduces_the_flicker_of_the_virtual_camera(
    video_file, virtual_cameras, monkeypatch
):
    flashes = itertools.count()

    def flashing(pixels, look):
        return np.full_like(pixels, 100 + 60 * (next(flashes) % 2))

    monkeypatch.setattr(webcam_module, "_load", lambda model, device: LiveModel("model", flashing))
    monkeypatch.setattr(Camera, "__iter__", lambda self: still(self.first))

    def still(first):
        for _ in range(12):
            time.sleep(0.02)
            yield CameraFrame(first, time.monotonic())

    deviations = []
    for smooth in (0.0, 0.8):
        webcam(
            ["model"],
            camera=str(video_file),
            size=72,
            smooth=smooth,
            virtual=True,
            headless=True,
            say=lambda _: None,
        )
        sent = virtual_cameras[-1].sent
        assert len(sent) > 6
        deviations.append(np.std([frame.mean() for frame in sent[4:]]))
    assert deviations[1] < 0.5 * deviations[0]


def test_smoothing_starts_again_when_a_key_changes_the_picture():
    made = []

    def make_filter():
        made.append(1)
        return lambda content, stylized: stylized

    model = slow_model(0)

    def camera():
        changes = {2: {"text": False}, 4: {"model": 1}}
        for number, frame in enumerate(frames(6, period=0.1)):
            pipeline.settings = replace(pipeline.settings, **changes.get(number, {}))
            yield frame

    pipeline = Pipeline(camera(), [model, model], SETTINGS, [], make_filter=make_filter)
    run(pipeline)
    assert len(made) == 2
    assert changes_picture(SETTINGS, replace(SETTINGS, look=Look(0.5)))
    assert not changes_picture(SETTINGS, replace(SETTINGS, recording=True, help=True))
