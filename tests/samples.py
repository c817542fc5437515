"""Pictures and clips for tests: drawn ones, and the folder of real ones beside the repository."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

SHARED = Path(os.environ.get("FST_SHARED", Path(__file__).parents[2] / "shared"))


def draw_picture(path: Path, seed: int, width: int = 80, height: int = 64) -> Path:
    """Write a picture of smooth colours and a few hard edges."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(random.uniform(3, 20) * x + random.uniform(3, 20) * y) for _ in range(3)]
    pixels = 128 + 90 * np.stack(waves, axis=-1)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = random.uniform(0, 255, 3)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def jpeg_of(side: int = 48) -> bytes:
    """Return a JPEG file of three gradients."""
    file = io.BytesIO()
    ramp = Image.linear_gradient("L").resize((side, side))
    Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180))).save(file, "JPEG")
    return file.getvalue()


def draw_clip(path: Path, frames: int = 3, width: int = 64, height: int = 48) -> Path:
    """Write a clip that brightens from frame to frame, 25 per second; its suffix is its format."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", 25)
        stream.width, stream.height = width, height
        for number in range(frames):
            pixels = np.full((height, width, 3), 60 + 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return path
