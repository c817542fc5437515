"""OpenCV, an optional extra that is imported when it is used."""

import importlib
import os
from types import ModuleType


def opencv(purpose: str = "the webcam", extra: str = "webcam") -> ModuleType:
    """Return `cv2` with its own warnings silenced.

    Args:
        purpose: what needs it, as the error says.
        extra: the extra that installs it.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    # Read when the libraries are loaded: they silence FFmpeg, and Qt about its fonts.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs OpenCV ({error}): pip install 'fst-style-transfer[{extra}]'"
        ) from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
