"""`make demo`: train a style on photographs that a package ships, and show the result.

python scripts/demo.py
"""

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

DEMO = Path("demo")
TO_STYLIZE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
TO_TRAIN_ON = (
    "brick.png",
    "camera.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
)


def main() -> int:
    """Lay out the photographs, train, and stylize those that were not trained on."""
    for folder, names in (("photographs", TO_TRAIN_ON), ("unseen", TO_STYLIZE)):
        (DEMO / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            with resources.as_file(resources.files("skimage.data") / name) as photograph:
                shutil.copy(photograph, DEMO / folder / name)
    overrides = [
        "style=vortices",
        "experiment=quick",
        f"data.path={DEMO / 'photographs'}",
        f"data.heldout_path={DEMO / 'unseen'}",
        f"runs_dir={DEMO / 'runs'}",
        *sys.argv[1:],
    ]
    model = DEMO / "runs" / "vortices" / "model.safetensors"
    pictures = [str(DEMO / "unseen" / name) for name in TO_STYLIZE]
    return fst("train", *overrides) or fst(
        "stylize", str(model), *pictures, "-o", str(DEMO / "stylized")
    )


def fst(*arguments: str) -> int:
    """Run an `fst` command as a user would, showing it; return its exit status."""
    print("$ fst", *arguments, flush=True)
    return subprocess.call([sys.executable, "-m", "fst.cli", *arguments])


if __name__ == "__main__":
    sys.exit(main())
