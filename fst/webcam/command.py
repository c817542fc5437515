"""`fst webcam`: a camera stylized live in a window, controlled by keys."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from fst.errors import UserError
from fst.stylizing.look import Look
from fst.stylizing.options import check_strength
from fst.terminal import note
from fst.terminal import say as print_line
from fst.video.formats import format_of
from fst.webcam.camera import Camera
from fst.webcam.live import (
    STALL_SECONDS,
    LiveFilter,
    LiveModel,
    Output,
    Pipeline,
    Recorder,
    Settings,
    no_filter,
    recording_path,
)
from fst.webcam.viewer import Viewer, Window, need_display
from fst.webcam.virtual_camera import VirtualCamera
from fst.webcam.working_size import SMALLEST_PX, with_size


def webcam(
    models: Sequence[str | Path],
    *,
    camera: str = "0",
    fps: float = 24,
    size: int | None = None,
    strength: float = 1.0,
    keep_colors: bool = False,
    smooth: float = 0.0,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    virtual: bool = False,
    headless: bool = False,
    mirror: bool = True,
    device: str = "auto",
    frames: int | None = None,
    say: Annotated[Callable[[str], None], Parameter(parse=False)] = print_line,
) -> None:
    """Stylize a camera live in a window; press h there for the keys.

    Args:
        models: Model files, run folders or names of released models; keys switch between them.
        camera: An index, a path or a URL; a video file is played once, at its own rate.
        fps: The rate, in frames per second, for which the working size is chosen.
        size: The working size: the shorter side of the network's input, in pixels. By default it
            is chosen for the rate, and lowered if the network lags.
        strength: 1 is the network's result, 0 the camera's picture; up to 1.5 with a model that
            takes any painting.
        keep_colors: Keep the camera's colours.
        smooth: Less flicker: share of the last frame that is kept where the picture shows the
            same, in [0, 1).
        output: Record from the start into this file, which must not exist. Recordings have the
            camera's size.
        virtual: Send the picture, without text and in the camera's size, to a virtual camera that
            other programs can use: that of OBS, or on Linux v4l2loopback.
        headless: Show no window; ends with --frames, the end of the file, Ctrl-C or SIGTERM.
        mirror: Flip the camera's picture left to right; files are never flipped.
        device: cuda, cpu ...; auto takes CUDA if available.
        frames: End after this many stylized frames.
        say: Called with each line of output.

    Raises:
        UserError: an option is out of range, there is no display, no virtual camera, or no picture
            from the camera.
        FileNotFoundError: a model does not exist.
        FileExistsError: the output exists, or is left from a recording that was killed.
        ImportError: OpenCV, or for a virtual camera pyvirtualcam, is not installed.
        CameraLostError: the camera stopped delivering frames; the recording is complete.
    """
    _check(fps, size, strength, smooth, frames)
    if not models:
        raise UserError("no model given: fst webcam MODEL...")
    if headless and output is None and frames is None and not virtual:
        raise UserError(
            "--headless shows nothing: add --output FILE to record, --virtual or --frames N"
        )
    if output is not None and output.exists():
        raise FileExistsError(f"{output} already exists: choose another output, or remove it")
    if output is not None and (left := recording_path(output)).exists():
        raise FileExistsError(
            f"{left} is left from a recording that was killed: rename or remove it, or choose "
            "another output"
        )
    if output is not None:
        format_of(output)
        output.parent.mkdir(parents=True, exist_ok=True)
    if not headless:
        need_display()
    source = Camera(camera, mirror)
    height, width = source.first.shape[:2]
    outputs: list[Output] = [Recorder(output, width, height, fps, say)]
    if virtual:
        other = VirtualCamera(width, height, fps)
        say(f"virtual camera: {other.name}")
        outputs.append(other)
    loaded = _load_all(models, device, strength)
    settings = Settings(0, look=Look(strength, keep_colors), recording=output is not None)
    settings = with_size(settings, size, loaded[0], source.first, fps, say)
    for model in filter(lambda model: model.engine, loaded):
        say(f"{model.title}: {model.engine}")
    patience = threading.TIMEOUT_MAX if source.is_file else STALL_SECONDS
    make_filter = _smoother(smooth) if smooth else no_filter
    pipeline = Pipeline(source, loaded, settings, outputs, patience, frames, make_filter)
    window = None if headless else Window(source.first)
    try:
        Viewer(pipeline, window, source.first, fps, say).run()
    finally:
        if window:
            window.close()


def _check(
    fps: float, size: int | None, strength: float, smooth: float, frames: int | None
) -> None:
    if not fps > 0:
        raise UserError(f"fps={fps} must be above 0")
    if size is not None and size < SMALLEST_PX:
        raise UserError(f"size={size} must be at least {SMALLEST_PX} pixels")
    check_strength(strength)
    if not 0 <= smooth < 1:
        raise UserError(f"smooth={smooth} must be in [0, 1)")
    if frames is not None and frames < 1:
        raise UserError(f"frames={frames} must be at least 1")


def _load_all(models: Sequence[str | Path], device: str, strength: float) -> list[LiveModel]:
    """Return the models; raise UserError if none is made for such a strength."""
    loaded = [_load(model, device) for model in models]
    check_strength(strength, max(model.most_strength for model in loaded))
    return loaded


def _load(model: str | Path, device: str) -> LiveModel:
    # Not above: `fst webcam --help` needs no torch.
    from fst.models.model_ref import find_model
    from fst.pictures.forms import in_form_of, to_images
    from fst.stylizing.stylizer import open_stylizer

    ref = find_model(model, note)
    stylizer = open_stylizer(ref, device)

    def stylize(pixels: np.ndarray, look: Look) -> np.ndarray:
        return in_form_of(stylizer.render(to_images(pixels), look), pixels)

    title = (stylizer.info.title or ref.name).replace("_", " ")
    return LiveModel(title, stylize, stylizer.engine, stylizer.most_strength)


def _smoother(smooth: float) -> Callable[[], LiveFilter]:
    from fst.video.filters import SceneFilters, TemporalSmoother  # for the same reason

    return lambda: SceneFilters(lambda: [TemporalSmoother(smooth)])
