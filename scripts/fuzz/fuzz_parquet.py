"""Damage parquet files at random, seeded; prepare and train on each, and report what happened.

python scripts/fuzz/fuzz_parquet.py 300

Expected are crops and prepared photographs, or one line that says what is wrong; anything else is a
bug, printed with the number that repeats it. What is refused must leave no prepared file.
"""

import io
import os
import random
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from fuzzing import Tally, damage, from_command_line
from odd_pictures import photograph

from fst.config import ParquetDataConfig
from fst.data.batches import content_batches, open_data
from fst.data.prepare import prepare
from fst.errors import UserError

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
PICTURES = 12
CODECS = ("none", "snappy", "gzip", "brotli", "lz4", "zstd")
EXPECTED = (UserError, OSError)
"""What the command line prints as one line."""


def pictures() -> list[bytes]:
    """Return small encoded pictures."""
    encoded = []
    for number in range(PICTURES):
        buffer = io.BytesIO()
        photograph(48 + number, 40).save(buffer, "JPEG" if number % 3 else "PNG")
        encoded.append(buffer.getvalue())
    return encoded


def write(values: Any, chance: random.Random, **how: Any) -> bytes:
    """Return a parquet file with this column of pictures."""
    sink = io.BytesIO()
    options = {
        "compression": chance.choice(CODECS),
        "use_dictionary": chance.random() < 0.5,
        "row_group_size": chance.choice((1, 5, 1000)),
        "data_page_version": chance.choice(("1.0", "2.0")),
        "write_page_checksum": chance.random() < 0.3,
        "store_schema": chance.random() < 0.8,
    }
    pq.write_table(pa.table({"image": values}, **how), sink, **options)
    return sink.getvalue()


def structs(encoded: list[bytes]) -> pa.Array:
    """Return pictures as most data sets hold them."""
    named = [{"bytes": each, "path": f"{i}.jpg"} for i, each in enumerate(encoded)]
    return pa.array(named, STRUCT)


def odd_values(encoded: list[bytes], chance: random.Random) -> tuple[str, pa.Array]:
    """Return a column that is not what it should be, and how."""
    columns = {
        "numbers": pa.array([1, 2, 3]),
        "lists": pa.array([[each] for each in encoded]),
        "lists of numbers": pa.array([[[1, 2], [3, 4]]] * 3),
        "nulls": pa.nulls(5),
        "null structs": pa.nulls(1000, STRUCT),
        "no rows": pa.array([], STRUCT),
        "texts": pa.array(["\x1b[2J", "", "/dev/zero", "/proc/self/mem", "../" * 50]),
        "structs of numbers": pa.array([{"bytes": 3, "path": 4}]),
        "structs of other names": pa.array([{"data": each} for each in encoded]),
        "bytes": pa.array(encoded),
        "large bytes": pa.array(encoded, pa.large_binary()),
        "fixed bytes": pa.array([bytes(64)] * 3, pa.binary(64)),
        "categories": pa.array(encoded).dictionary_encode(),
        "damaged pictures": pa.array([damage(each, chance) for each in encoded]),
        "empty pictures": pa.array([b""] * 5),
        "zeros": pa.array([bytes(chance.choice((10**6, 3 * 10**7)))] * chance.choice((1, 12))),
        "times": pa.array([1, 2], pa.timestamp("ns")),
        "maps": pa.array([[("bytes", b"x")]], pa.map_(pa.string(), pa.binary())),
    }
    name = chance.choice([*columns])
    return name, columns[name]


def file_of(chance: random.Random, encoded: list[bytes]) -> tuple[str, bytes]:
    """Return a damaged or odd parquet file, and what is the matter with it."""
    kind = chance.randrange(4)
    if kind == 0:
        name, values = odd_values(encoded, chance)
        return name, write(values, chance)
    whole = write(structs(encoded), chance)
    if kind == 1:  # the footer, which is read first
        return "damaged at the end", damage(whole[::-1], chance)[::-1]
    if kind == 2:
        return "damaged", damage(whole, chance)
    at = chance.randrange(len(whole))
    pieces = (
        whole[:at],
        whole[at:],
        bytes(len(whole)),
        b"",
        whole[:at] + whole,
        whole + whole[at:],
    )
    return "cut or joined", chance.choice(pieces)


def use(source: Path, output: Path) -> None:
    """Cut crops of a file's pictures, and prepare them."""
    config = ParquetDataConfig(path=str(source), crop_px=32, margin_px=0, heldout_images=1)
    for images, _ in content_batches(open_data(config, seed=0).train, 4, 0, 8):
        assert images.shape == (4, 3, 32, 32)
    try:
        prepare(config, output, 40, 95, lambda what, done, total: None)
    except EXPECTED:
        assert not [*output.glob("*.parquet")], "a refused source left prepared files"
        raise
    assert len(open_data(ParquetDataConfig(path=str(output)), seed=0).train.indices)


def fuzz(count: int, seed: int = 0, first: int = 0) -> Tally:
    """Damage and use this many parquet files, from number `first` on."""
    tally = Tally(EXPECTED)
    encoded = pictures()
    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, {"FST_CACHE": name}):
        source, output = Path(name) / "file.parquet", Path(name) / "prepared"
        for number in range(first, first + count):
            how, content = file_of(random.Random(f"{seed}/{number}"), encoded)
            source.write_bytes(content)
            tally.count(f"seed {seed}, file {number} ({how})", partial(use, source, output))
            shutil.rmtree(output, ignore_errors=True)
            shutil.rmtree(Path(name) / "photographs", ignore_errors=True)
    return tally


if __name__ == "__main__":
    sys.exit(from_command_line(__doc__, fuzz, "file", "parquet files"))
