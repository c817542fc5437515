"""Draw details of photographs enlarged four times: docs/assets/super_resolution.jpg.

    python scripts/release/draw_upscaling.py

Photographs of scikit-image are downscaled by four and enlarged by bicubic interpolation and by the
released models.
"""

from pathlib import Path

from gallery import QUALITY, photograph

from fst.networks.downscale import Downscale
from fst.pictures.image import enlarge_bicubic, in_8_bits, write_image
from fst.pictures.sheet import labelled_sheet
from fst.upscaling.enlarger import load_enlarger

SHEET = Path(__file__).parents[2] / "docs" / "assets" / "super_resolution.jpg"
DETAILS = {"chelsea.png": (60, 150), "astronaut.png": (0, 150), "coffee.png": (100, 220)}
"""Top and left of what is shown of each photograph, in pixels."""
SIDE = 192


def main() -> None:
    """Write the sheet."""
    models = ("upscale_x4_pixel", "upscale_x4")
    rows = []
    for name, (top, left) in DETAILS.items():
        picture = photograph(name)
        height, width = (length // 4 * 4 for length in picture.shape[-2:])
        picture = picture[..., :height, :width]
        small = in_8_bits(Downscale(4)(picture))
        bicubic = enlarge_bicubic(small, 4)
        enlarged = [load_enlarger(model, dtype="fp32")(small) for model in models]
        row = [bicubic, *enlarged, picture]
        rows.append([each[..., top : top + SIDE, left : left + SIDE] for each in row])
    write_image(labelled_sheet(["bicubic", *models, "original"], rows), SHEET, QUALITY)
    print(SHEET)


if __name__ == "__main__":
    main()
