"""fst: train feed-forward neural style transfer networks, and stylize with them in real time.

>>> import fst
>>> stylize = fst.load("starry_night")  # or a run's name, a run folder, a model file
>>> stylized = stylize(fst.read_image("photo.jpg"))  # (1, 3, H, W) in [0, 1]
>>> fst.write_image(stylized, "stylized.jpg")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fst.pictures.image import read_image, write_image
    from fst.stylizing.stylizer import Stylizer, load
    from fst.upscaling.enlarger import Enlarger, load_enlarger

__version__ = "0.1.0"
__all__ = [
    "Enlarger",
    "Stylizer",
    "__version__",
    "load",
    "load_enlarger",
    "read_image",
    "write_image",
]

_HOMES = {
    "Enlarger": "fst.upscaling.enlarger",
    "Stylizer": "fst.stylizing.stylizer",
    "load": "fst.stylizing.stylizer",
    "load_enlarger": "fst.upscaling.enlarger",
    "read_image": "fst.pictures.image",
    "write_image": "fst.pictures.image",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import fst` and `fst --help` do not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'fst' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
