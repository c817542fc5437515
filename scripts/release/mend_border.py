r"""Teach a trained network to stylize borders as it does the middle: 90 s on one CPU core.

python scripts/release/mend_border.py runs/mondrian shared/photos/train -o mended.safetensors

A network knows where its picture ends, as its own convolutions reflect there, and a loss of whole
pictures' statistics does not ask it to treat border and middle alike: many leave a frame of low
contrast, which no later training removes. Here a copy of the network stylizes each photograph
continued by reflection on every side, so that the middle's treatment reaches beyond the border, and
the network learns that result, cut to the photograph. No loss network is needed.
"""

import argparse
import copy
import dataclasses
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fst.device import autocast, pick_device, training_precision
from fst.errors import one_line_errors
from fst.models.model_file import open_model, save_model
from fst.models.model_ref import find_model
from fst.pictures.formats import is_picture
from fst.pictures.image import files_below, read_image, resize

CONTINUED_PX = 96
"""Wider than any frame that was seen: a reflection this far in is the middle to the network."""
SIDES_PX = (192, 256, 320)
LEARNING_RATE = 5e-4
REPORT_EVERY = 50


def main() -> None:
    """Mend one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="run folder, model file or name")
    parser.add_argument("photographs", type=Path, help="a folder of them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--steps", type=int, default=600)
    given = parser.parse_args()
    with one_line_errors("mend_border"):
        mend(given.model, given.photographs, given.output, given.steps)


def mend(model: str, photographs: Path, output: Path, steps: int) -> None:
    """Train, print the distance to the target every few steps, and write the model."""
    device = pick_device()
    precision = training_precision("auto", device)
    trained = open_model(find_model(model))
    teacher, info = trained.stylizer, trained.info
    network = copy.deepcopy(teacher)
    for each in (teacher, network):
        each.to(device).to(memory_format=torch.channels_last)
    network.train().requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    chance = random.Random(0)
    files = [file for file in files_below(photographs) if is_picture(file)]
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, step / 20) * (1 - (step - 1) / steps)
        image = crop(read_image(chance.choice(files)), chance).to(device)
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), autocast(device, precision):
            continued = F.pad(image, [CONTINUED_PX] * 4, mode="reflect")
            target = F.pad(teacher(continued).float(), [-CONTINUED_PX] * 4)
        with autocast(device, precision):
            distance = (network(image).float() - target).abs().mean()
        optimizer.zero_grad()
        distance.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += distance.item()
        if step % REPORT_EVERY == 0:
            left = (time.monotonic() - started) / step * (steps - step)
            print(
                f"{step}/{steps}  distance {total / REPORT_EVERY:.4f}  {left:.0f} s left",
                flush=True,
            )
            total = 0.0
    # The held-out losses in the file are those of the network before.
    save_model(output, network.eval(), dataclasses.replace(info, losses={}))
    print(output)


def crop(image: Tensor, chance: random.Random) -> Tensor:
    """Return a random square of (1, 3, H, W), at a random scale."""
    side = chance.choice(SIDES_PX)
    shorter = min(image.shape[-2:])
    image = resize(image, chance.randint(side, max(side, shorter)))
    top, left = (chance.randint(0, length - side) for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


if __name__ == "__main__":
    main()
