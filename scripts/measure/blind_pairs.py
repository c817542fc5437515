r"""Blind comparison of pictures: sheets of pairs in random order, and the count of the answers.

    python scripts/measure/blind_pairs.py make SHEETS --photographs DIR --paintings DIR \
        --results new=DIR --results old=DIR [--results ...] [--pairs 6] [--seed 0]
    python scripts/measure/blind_pairs.py count SHEETS ANSWERS.csv [ANSWERS.csv ...]

A results folder holds `PAINTING/PHOTOGRAPH.*`, as `fst stylize` writes for several models. Each two
folders meet in `--pairs` photographs a painting. SHEETS/pair_000.jpg ... show the painting, the
photograph, and the two results as LEFT and RIGHT; SHEETS.key.json, beside the folder, says which is
which: whoever judges gets the folder alone. An answer is a line `PAIR,left|right|tie[,why]`.
"""

import argparse
import csv
import itertools
import json
import math
import random
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from fst.atomic import replacing
from fst.pictures.image import PICTURE_SUFFIXES, files_below, open_rgb
from fst.report import table

RESULT_PX = 512
"""Longer side of a result on a sheet."""
GIVEN_PX = 256
"""Longer side of the painting and the photograph."""
GAP_PX = 12
HEADING_PX = 20
ANSWERS = ("left", "right", "tie")


@dataclass
class Pair:
    """Two results of one photograph, and what each side shows."""

    painting: str
    photograph: str
    left: str
    right: str


def main() -> None:
    """Make sheets, or count answers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("make")
    make.add_argument("sheets", type=Path)
    make.add_argument("--photographs", type=Path, required=True)
    make.add_argument("--paintings", type=Path, required=True)
    make.add_argument("--results", action="append", required=True, metavar="NAME=DIR")
    make.add_argument("--pairs", type=int, default=6, help="photographs a painting")
    make.add_argument("--seed", type=int, default=0)
    make.set_defaults(run=make_sheets)
    count = commands.add_parser("count")
    count.add_argument("sheets", type=Path)
    count.add_argument("answers", type=Path, nargs="+")
    count.set_defaults(run=count_answers)
    given = parser.parse_args()
    given.run(given)


def make_sheets(given: argparse.Namespace) -> None:
    """Write a sheet for each pair, and the key."""
    paintings, photographs = by_stem(given.paintings), by_stem(given.photographs)
    folders = {name: Path(folder) for name, _, folder in (r.partition("=") for r in given.results)}
    drawn = random.Random(given.seed)
    pairs: list[tuple[Pair, list[Path]]] = []
    for one, other in itertools.combinations(folders, 2):
        for painting in sorted(paintings):
            here, there = (by_stem(folders[name] / painting) for name in (one, other))
            both = sorted(here.keys() & there.keys() & photographs.keys())
            for photograph in sorted(drawn.sample(both, min(given.pairs, len(both)))):
                sides = [(one, here[photograph]), (other, there[photograph])]
                drawn.shuffle(sides)
                (left, a), (right, b) = sides
                pairs.append((Pair(painting, photograph, left, right), [a, b]))
    drawn.shuffle(pairs)
    if not pairs:
        sys.exit("blind_pairs: no painting has results of one photograph in two folders")
    for number, (pair, results) in enumerate(pairs):
        sheet = draw_sheet(paintings[pair.painting], photographs[pair.photograph], results)
        with replacing(given.sheets / f"pair_{number:03}.jpg") as temporary:
            sheet.save(temporary, quality=92)
    key = json.dumps([asdict(pair) for pair, _ in pairs], indent=1)
    with replacing(key_of(given.sheets)) as temporary:
        temporary.write_text(key + "\n", encoding="utf-8")
    print(f"{len(pairs)} sheets in {given.sheets}; the key is {key_of(given.sheets)}")


def by_stem(folder: Path) -> dict[str, Path]:
    """Return a folder's pictures by their names without the suffix, if it exists."""
    files = files_below(folder) if folder.is_dir() else []
    return {file.stem: file for file in files if file.suffix.lower() in PICTURE_SUFFIXES}


def draw_sheet(painting: Path, photograph: Path, results: list[Path]) -> Image.Image:
    """Return a sheet: painting and photograph above each other, then the two results."""
    small = [ImageOps.contain(open_rgb(file), (GIVEN_PX,) * 2) for file in (painting, photograph)]
    shape = ImageOps.contain(open_rgb(photograph), (RESULT_PX,) * 2)
    large = [open_rgb(file).resize(shape.size, Image.Resampling.LANCZOS) for file in results]
    height = max(shape.height, sum(each.height for each in small) + GAP_PX)
    width = GIVEN_PX + 2 * (GAP_PX + shape.width)
    sheet = Image.new("RGB", (width, HEADING_PX + height), "white")
    sheet.paste(small[0], (0, HEADING_PX))
    sheet.paste(small[1], (0, HEADING_PX + small[0].height + GAP_PX))
    for side, (heading, picture) in enumerate(zip(("LEFT", "RIGHT"), large, strict=True)):
        left = GIVEN_PX + GAP_PX + side * (GAP_PX + shape.width)
        ImageDraw.Draw(sheet).text((left, 4), heading, fill="black")
        sheet.paste(picture, (left, HEADING_PX))
    return sheet


def key_of(sheets: Path) -> Path:
    """Return where the key is: beside the folder of the sheets, not in it."""
    return sheets.with_name(f"{sheets.name}.key.json")


def count_answers(given: argparse.Namespace) -> None:
    """Print for each two folders how often the first was preferred, by painting and in all."""
    pairs = [
        Pair(**entry) for entry in json.loads(key_of(given.sheets).read_text(encoding="utf-8"))
    ]
    scores: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    agreed = asked_twice = 0
    seen: dict[int, str] = {}
    for file in given.answers:
        answers = read_answers(file, len(pairs))
        if missing := len(pairs) - len(answers):
            print(f"{file}: {missing} of {len(pairs)} pairs have no answer")
        for number, answer in answers.items():
            pair = pairs[number]
            one, other = sorted((pair.left, pair.right))
            of_left = {"left": 1.0, "right": 0.0, "tie": 0.5}[answer]
            score = of_left if pair.left == one else 1 - of_left
            for group in (pair.painting, "all"):
                scores[one, other][group].append(score)
            if number in seen:
                asked_twice += 1
                agreed += seen[number] == answer
            seen[number] = answer
    for (one, other), groups in scores.items():
        print("\n".join(["", *table(["painting", one, other, "share", "95%"], rows(groups))]))
    if asked_twice:
        print(f"\n{agreed} of {asked_twice} repeated judgements agree")


def read_answers(file: Path, pairs: int) -> dict[int, str]:
    """Return the answers by the number of the pair; exit if a line is not an answer."""
    answers = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for cells in csv.reader(lines):
            if not cells or not cells[0].strip().isdigit():
                continue  # a heading or a remark
            number, answer = int(cells[0]), cells[1].strip().lower() if len(cells) > 1 else ""
            if number >= pairs or answer not in ANSWERS:
                sys.exit(f"blind_pairs: {file}: {','.join(cells)!r} is not PAIR,left|right|tie")
            answers[number] = answer
    return answers


def rows(groups: dict[str, list[float]]) -> list[list[str]]:
    """Return a table's rows: how often each was preferred, ties shared, with Wilson's interval."""
    found = []
    for group, scores in sorted(groups.items(), key=lambda entry: (entry[0] == "all", entry[0])):
        n, won = len(scores), sum(scores)
        low, high = wilson(won, n)
        cells = [group, f"{won:g}", f"{n - won:g}", f"{won / n:.0%}", f"{low:.0%} to {high:.0%}"]
        found.append(cells)
    return found


def wilson(won: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927): of use for few and one-sided answers."""
    share, spread = won / n, z**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


if __name__ == "__main__":
    main()
