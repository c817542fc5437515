"""Draw one photograph in the styles of artists, each found from ever more of their works.

    python scripts/measure/artist.py any PAINTINGS Claude_Monet Edvard_Munch --photograph FILE
        -o artist.png

PAINTINGS is a folder of files that begin with the artist's name.
"""

import argparse
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import fst
from fst.pictures.image import read_image, resize, write_image
from fst.pictures.sheet import labelled_sheet

WORKS = (1, 3, 10, 40)
"""Numbers of works; an artist of fewer gives all there are."""


def main() -> None:
    """Write the sheet: a row for each artist, a column for each number of works."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("paintings", type=Path)
    parser.add_argument("artists", nargs="+")
    parser.add_argument("--photograph", type=Path, required=True)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    photograph = resize(read_image(given.photograph), given.size)
    rows = []
    for artist in given.artists:
        works = sorted(given.paintings.glob(f"{artist}*"))
        random.Random(0).shuffle(works)  # the fewer are among the more
        styles = [style_of(given.model, works[:count]) for count in WORKS]
        rows.append([photograph, *(stylize(photograph) for stylize in styles)])
    columns = ["photograph", *(f"works: {count}" for count in WORKS)]
    names = [artist.replace("_", " ") for artist in given.artists]
    write_image(labelled_sheet(columns, rows, names), given.output)
    print(given.output)


def style_of(model: str, works: list[Path]) -> fst.Stylizer:
    """Return a model in the style of these works, by way of a folder that holds them."""
    with TemporaryDirectory() as folder:
        for work in works:
            (Path(folder) / work.name).symlink_to(work.resolve())
        return fst.load(f"{model}:{folder}", dtype="fp32")


if __name__ == "__main__":
    main()
