r"""Release a trained model: write checkpoints/NAME.safetensors in fp16, with its card and checksum.

python scripts/release_model.py runs/scream the_scream --title "The Scream" \
    --artist "Edvard Munch" --year 1893 --note "strong waves; faces are hard to recognise"
"""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

from fst.atomic import replacing
from fst.models.model_file import open_model, save_model
from fst.models.released import CHECKSUMS, checksum, read_checksums

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def main() -> None:
    """Release one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder or model file")
    parser.add_argument("name", help="what the model is to be called: lower case, digits, _")
    parser.add_argument("--artist", required=True)
    parser.add_argument("--year", required=True)
    parser.add_argument("--note", required=True, help="what it does well and badly, in one line")
    parser.add_argument("--title", help="the painting; by default the title in the model")
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
    return Path(value).name if isinstance(value, str) and "/" in value else value


def release(given: argparse.Namespace, folder: Path) -> Path:
    """Write the model and the checksums into `folder`; return the model's file."""
    network, info = open_model(given.run)
    card = {name: getattr(given, name) for name in ("artist", "year", "rights", "note")}
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
        temporary.write_text("".join(lines))
    return path


if __name__ == "__main__":
    main()
