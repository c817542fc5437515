r"""Release a trained model: write checkpoints/NAME.safetensors in fp16, with its card and checksum.

python scripts/release/release_model.py runs/scream the_scream --title "The Scream" \
    --artist "Edvard Munch" --year 1893 --note "strong waves; faces are hard to recognise"
python scripts/release/release_model.py runs/paintings paintings --title "The paintings" \
    --artist "ten artists" --year "1810 to 1919" --note "..." --styles styles.csv

Of a model of several styles those that the CSV file names are released, in its order; its columns
are name, title, artist, year, rights where they are others, and trained_as where the style had
another name in training.
"""

import argparse
import csv
import dataclasses
import re
from pathlib import Path
from typing import Any

import torch

from fst.atomic import replacing
from fst.models.model_file import read_model, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import find_model
from fst.models.released import CHECKSUMS, checksum, read_checksums
from fst.networks.styled import StyledNetwork
from fst.networks.upscaler import Upscaler

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


def main() -> None:
    """Release one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder or model file")
    parser.add_argument("name", help="what the model is to be called: lower case, digits, _")
    parser.add_argument("--artist", help="of the painting; none for super-resolution")
    parser.add_argument("--year", help="of the painting")
    parser.add_argument("--note", required=True, help="what it does well and badly, in one line")
    parser.add_argument("--title", help="the painting; by default the title in the model")
    parser.add_argument("--styles", type=Path, help="CSV file, for a model of several styles")
    parser.add_argument("--rights", default="public domain", help="rights in the painting")
    parser.add_argument("--licence", default="CC BY 4.0", help="licence of the weights")
    given = parser.parse_args()
    if not re.fullmatch(r"[a-z0-9_]+", given.name):
        parser.error(f"name {given.name!r} must consist of lower-case letters, digits and _")
    print(release(given, CHECKPOINTS))


def without_folders(value: Any) -> Any:
    """Return a configuration whose paths are names alone: folders of this machine mean nothing."""
    if isinstance(value, dict):
        return {key: without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_folders(entry) for entry in value]
    if not isinstance(value, str) or "/" not in value:
        return value
    model, colon, path = value.rpartition(":")  # as in init=any:paintings/udnie.jpg
    return model + colon + Path(path).name


def with_cards(
    network: StyledNetwork, styles: list[StyleInfo], table: Path, rights: str
) -> tuple[StyledNetwork, list[StyleInfo]]:
    """Return the network of the styles in the table, and what is known of them."""
    numbers = {style.name: number for number, style in enumerate(styles)}
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row.pop("name"): row for row in csv.DictReader(file)}
    trained_as = {name: row.pop("trained_as", "") or name for name, row in rows.items()}
    released = [
        dataclasses.replace(
            styles[numbers[trained_as[name]]],
            name=name,
            picture=f"{name}.jpg",
            card={"rights": rights} | {key: value for key, value in row.items() if value},
        )
        for name, row in rows.items()
    ]
    chosen = torch.tensor([numbers[name] for name in trained_as.values()])
    return network.with_only(chosen), released


def release(given: argparse.Namespace, folder: Path) -> Path:
    """Write the model and the checksums into `folder`; return the model's file."""
    read = read_model(find_model(given.run).path)
    network, info = read.network, read.info
    if isinstance(network, StyledNetwork) and info.styles:
        if given.styles is None:
            raise SystemExit(f"{given.run} has several styles: give --styles FILE.csv")
        network, info.styles = with_cards(network, info.styles, given.styles, given.rights)
    named = ("note",) if isinstance(network, Upscaler) else ("artist", "year", "rights", "note")
    card = {name: getattr(given, name) for name in named}
    if None in card.values():
        raise SystemExit("a style is released with --artist and --year of its painting")
    title = given.title or info.title
    info = dataclasses.replace(
        info,
        title=title,
        licence=given.licence,
        card=card,
        training_config=without_folders(info.training_config),
    )
    path = folder / f"{given.name}.safetensors"
    save_model(path, network.half(), info)
    checksums = read_checksums(folder) | {path.name: checksum(path)}
    with replacing(folder / CHECKSUMS) as temporary:
        lines = (f"{digest}  {name}\n" for name, digest in sorted(checksums.items()))
        temporary.write_text("".join(lines), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
