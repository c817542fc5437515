"""The pictures of parquet files as a table with random access to its rows.

Parquet decodes thousands of rows to reach one, so each file's column of pictures is copied once, in
Arrow's format, which is mapped into memory. Files may come from anybody: one that would become many
times its size is refused before it is read.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fst.atomic import replacing
from fst.cache import cache_path
from fst.errors import UserError, one_line
from fst.report import few
from fst.terminal import Bar, is_watched

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData

MAX_GROWTH = 20
"""A file may hold this many times its own size in pictures, as these are compressed already ..."""
ALLOWANCE = 256_000_000
"""... and this many bytes in any case."""
_ROW_BYTES = 64
"""Each row counts as at least this many bytes, or a small file could hold a billion empty ones."""
_ROWS_AT_ONCE = 16
_TYPES = {"bytes": "binary", "path": "string"}
"""The fields of the copies, with Arrow's names for their types."""


def open_pictures(files: Sequence[Path], column: str) -> "datasets.Dataset":
    """Return the pictures of parquet files, one file after the other.

    Args:
        files: the parquet files.
        column: the column that holds the pictures: their encoded bytes, their paths, or structs of
            `bytes` and `path`.

    Returns:
        The one column, each picture a dict of `bytes` and `path`.

    Raises:
        UserError: a file is damaged, has no such column, or would become too large.
        OSError: a copy cannot be written.
    """
    import datasets

    bar = Bar(files, desc="reading", unit="file", disable=not is_watched(), leave=False)
    copies = [str(_copy(file, column)) for file in bar]
    rows = datasets.concatenate_datasets([datasets.Dataset.from_file(copy) for copy in copies])
    return rows.cast_column(column, datasets.Image(decode=False))


def _copy(file: Path, column: str) -> Path:
    """Return the copy of a file's pictures in the cache folder, made now if there is none."""
    import pyarrow as pa

    with _naming(file):
        found = file.stat()
    what = (os.path.realpath(file), found.st_size, found.st_mtime_ns, column)
    name = hashlib.sha256(repr(what).encode("utf-8", "replace")).hexdigest()[:32]
    copy = cache_path(f"photographs/{name}.arrow")
    if copy.exists():
        return copy
    schema = pa.schema({column: pa.struct(_TYPES)})
    try:
        with (
            replacing(copy) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_stream(sink, schema) as stream,
        ):
            for pictures in _batches(file, found.st_size, column):
                stream.write_batch(pa.record_batch([pictures], schema=schema))
    except OSError as error:
        raise OSError(f"cannot copy {file} into {copy.parent}: {one_line(error)}") from error
    return copy


def _batches(file: Path, size: int, column: str) -> Iterator["pa.StructArray"]:
    """Yield a file's pictures, a few rows at once, as structs of `bytes` and `path`."""
    import pyarrow.parquet as pq

    taken = 0
    with _naming(file), file.open("rb") as content:
        parquet = pq.ParquetFile(content, page_checksum_verification=True)
        check_column(file, parquet.schema_arrow, column)
        _refuse_growth(file, _claimed_bytes(parquet.metadata, column), size)
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=[column], use_threads=False):
            batch.validate(full=True)
            pictures = _as_structs(batch.column(0))
            taken += pictures.nbytes
            _refuse_growth(file, taken, size)
            yield pictures


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Have an error in reading a parquet file name the file."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot read {file} as a parquet file: {one_line(error)}") from error


def check_column(source: str | Path, schema: "pa.Schema", column: str) -> None:
    """Raise UserError, naming the source, unless it has one such column that can hold pictures."""
    if column not in schema.names:
        raise UserError(
            f"{source} has no column {column!r}, but {few(schema.names)}: name the one that holds "
            "the pictures"
        )
    if schema.names.count(column) > 1:
        raise UserError(f"{source} has several columns {column!r}: rename all but one")
    kind = schema.field(column).type
    if not _fields(kind):
        raise UserError(
            f"{source} has no encoded pictures in its column {column!r}, but {str(kind)[:80]}: "
            "name a column of bytes, or of structs of bytes and path"
        )


def _fields(kind: "pa.DataType") -> list[str]:
    """Return which of `bytes` and `path` a column of this type holds."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return [field.name for field in kind if field.name in _fields(field.type)]
    if pa.types.is_dictionary(kind):
        return _fields(kind.value_type)
    if any(like(kind) for like in (pa.types.is_binary, pa.types.is_large_binary)):
        return ["bytes"]
    if any(like(kind) for like in (pa.types.is_string, pa.types.is_large_string)):
        return ["path"]
    return []


def _as_structs(values: "pa.Array") -> "pa.StructArray":
    """Return a column's values as structs of `bytes` and `path`."""
    import pyarrow as pa

    held = _fields(values.type)
    fields = dict.fromkeys(_TYPES, pa.nulls(len(values)))
    for name in held:
        fields[name] = values.field(name) if pa.types.is_struct(values.type) else values
    columns = [fields[name].cast(kind) for name, kind in _TYPES.items()]
    return pa.StructArray.from_arrays(columns, [*_TYPES], mask=values.is_null())


def _claimed_bytes(metadata: "FileMetaData", column: str) -> int:
    """Return how large a file says that its column of pictures is."""
    parts = [
        number
        for number in range(metadata.num_columns)
        if f"{metadata.schema.column(number).path}.".startswith(f"{column}.")
    ]
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    size = sum(group.column(part).total_uncompressed_size for group in groups for part in parts)
    return int(max(size, metadata.num_rows * _ROW_BYTES))


def _refuse_growth(file: Path, pictures: int, size: int) -> None:
    """Raise UserError if the pictures of a file of `size` bytes take too many."""
    if pictures > MAX_GROWTH * size + ALLOWANCE:
        raise UserError(
            f"{file} has {size / 1e6:,.1f} MB, but its pictures would take "
            f"{pictures / 1e6:,.0f} MB or more, as no photographs do: leave it out"
        )
