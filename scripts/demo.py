"""`make demo`: predict a style, train it for three minutes, and show both.

python scripts/demo.py

Nothing is downloaded: the loss network (`loss_network=slim`), the models and the style ship with
fst, the photographs with scikit-image. A stopped demo resumes when it is run again.
"""

import shutil
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

import torch

from fst.pictures.image import middle_square, read_image, resize, write_image
from fst.pictures.sheet import contact_sheet

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
STYLE = DEMO / "vortices.jpg"
SHEET_PX = 360


def main() -> int:
    """Copy the photographs, stylize unseen ones before and after training, say what to try."""
    signal.signal(signal.SIGINT, lambda *_: None)  # left to the training, which saves first
    for folder, names in (("photographs", TO_TRAIN_ON), ("unseen", TO_STYLIZE)):
        (DEMO / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            with resources.as_file(resources.files("skimage.data") / name) as photograph:
                shutil.copy(photograph, DEMO / folder / name)
    with resources.as_file(resources.files("fst.conf") / "style" / "vortices.jpg") as style:
        shutil.copy(style, STYLE)
    run = DEMO / "runs" / "vortices"
    overrides = [
        f"style={STYLE}",
        "experiment=quick",
        "training.minutes=3",
        f"data.path={DEMO / 'photographs'}",
        f"data.heldout_path={DEMO / 'unseen'}",
        f"runs_dir={DEMO / 'runs'}",
        *sys.argv[1:],
    ]
    status = (
        show("predicted", f"any:{STYLE}") or fst("train", *overrides) or show("trained", str(run))
    )
    if status:
        return status
    print(
        f"""the model          {run / "model.safetensors"}
TensorBoard's run  {run}

What to try next:
  .venv/bin/fst stylize {run} YOUR_PHOTO.jpg -o stylized.jpg
  .venv/bin/fst train style=YOUR_PAINTING.jpg data.path=YOUR_PHOTOS/ experiment=quick
  .venv/bin/fst models
  .venv/bin/tensorboard --logdir {DEMO / "runs"}
The demo used the small loss network; the default is loss_network=vgg16, which is downloaded."""
    )
    return 0


def show(what: str, model: str) -> int:
    """Stylize the photographs into a folder, and write a sheet of them; return an exit status.

    The sheet has the style, and each photograph above its stylized version.
    """
    stylized, sheet = DEMO / what, DEMO / f"{what}.jpg"
    pictures = [str(DEMO / "unseen" / name) for name in TO_STYLIZE]
    status = fst("stylize", model, *pictures, "-o", str(stylized), "--overwrite")
    if status:
        return status
    befores = torch.cat([square(DEMO / "unseen" / name) for name in TO_STYLIZE])
    afters = torch.cat([square(stylized / name) for name in TO_STYLIZE])
    write_image(contact_sheet(read_image(STYLE), befores, afters), sheet)
    print(f"before and after   {sheet}\n", flush=True)
    return 0


def square(file: Path) -> torch.Tensor:
    """Return a square crop from the middle of a picture, (1, 3, S, S)."""
    return middle_square(resize(read_image(file), SHEET_PX))


def fst(*arguments: str) -> int:
    """Print and run an `fst` command; return its exit status."""
    print("$ fst", *arguments, flush=True)
    return subprocess.call([sys.executable, "-m", "fst", *arguments])


if __name__ == "__main__":
    sys.exit(main())
