"""A virtual camera: other programs see the stylized picture as a camera's."""

import importlib
import sys
from types import ModuleType

from fst.errors import UserError, one_line
from fst.webcam.camera import resize
from fst.webcam.live import Result


class VirtualCamera:
    """Sends results, scaled to one size, to the first virtual camera of the system.

    Args:
        width: of the virtual camera's picture, in pixels.
        height: of its picture, in pixels.
        fps: about how many frames per second it gets.

    Raises:
        UserError: there is no virtual camera, or it cannot be opened.
        ImportError: pyvirtualcam is not installed.
    """

    def __init__(self, width: int, height: int, fps: float) -> None:
        try:
            self._camera = _pyvirtualcam().Camera(width, height, fps)
        except RuntimeError as error:  # one line for each kind of virtual camera it knows
            raise UserError(
                f"no virtual camera can be opened ({one_line(error)}): {_advice()}"
            ) from error
        self._size = width, height

    @property
    def name(self) -> str:
        """The name under which other programs list it."""
        return str(self._camera.device)

    def write(self, result: Result) -> None:
        """Show the result until the next one."""
        self._camera.send(resize(result.pixels, *self._size))

    def close(self) -> None:
        """Give the device back."""
        self._camera.close()


def _advice() -> str:
    if sys.platform == "linux":
        return "install v4l2loopback and load it with `sudo modprobe v4l2loopback`"
    return "install OBS, and start and stop its virtual camera there once"


def _pyvirtualcam() -> ModuleType:
    try:
        return importlib.import_module("pyvirtualcam")
    except ImportError as error:
        raise ImportError(
            "--virtual needs pyvirtualcam: pip install 'fst-style-transfer[virtual]'"
        ) from error
