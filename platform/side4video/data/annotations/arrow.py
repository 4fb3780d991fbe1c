"""Rows of a data set that `datasets` saved to disk as Arrow files. Videos are read directly from these files.

folder/dataset_dict.json {"splits": ["train", "test"]}; missing if the folder is one split folder/train/state.json the
Arrow files, in order folder/train/dataset_info.json types of the columns, and class names
folder/train/data-00000-of-00002.arrow
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError
from side4video.data.annotations.tables import shorten_list
from side4video.data.storage import part_address

_SAVE = "save it with `dataset.save_to_disk(folder)` of the `datasets` package"


@dataclass(frozen=True, slots=True)
class ArrowRow:
    """A row: its video's address, or the path of it; and its other columns."""

    address: str
    """Empty where the row holds no bytes."""
    path: str
    """As the row has it; may be empty."""
    values: Mapping[str, Any]
    origin: str
    """The file and the row in it, counted from 0."""


def split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split; of a data set without splits, itself under the empty name.

    Raises:
        InputError: The folder holds no saved data set.
    """
    if (root / "dataset_dict.json").is_file():
        return {str(name): root / str(name) for name in _json(root / "dataset_dict.json").get("splits", ())}
    if (root / "state.json").is_file():
        return {"": root}
    parquet = next(root.rglob("*.parquet"), None) if root.is_dir() else None
    if parquet:
        files = json.dumps(str(parquet.parent / "*.parquet"))
        raise InputError(
            str(root),
            f"Parquet files ({parquet.name}), whose videos cannot be read alone",
            fix=f'python -c \'import datasets; datasets.load_dataset("parquet", data_files={files})'
            '.save_to_disk("FOLDER")\', and name that folder',
        )
    found = "it has neither dataset_dict.json nor state.json" if root.is_dir() else "there is no such folder"
    raise InputError(str(root), found, fix=_SAVE)


def features_of(folder: Path) -> dict[str, Any]:
    """What the columns of a split are, as `datasets` describes them."""
    return dict(_json(folder / "dataset_info.json").get("features") or {})


def read_rows(folder: Path, *, video: str, columns: tuple[str, ...]) -> tuple[ArrowRow, ...]:
    """All rows of a split.

    `video` is the column of the videos, `columns` are the others that are wanted.

    Raises:
        InputError: A file is missing or broken, or a column is.
    """
    names = [str(each["filename"]) for each in _json(folder / "state.json").get("_data_files", ())]
    rows: list[ArrowRow] = []
    for name in names:
        path = folder / Path(name).name
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(str(path), f"it cannot be read: {error.strerror}", fix="copy the folder again") from error
        rows += _read_file(str(path), (status.st_size, status.st_mtime_ns), video, columns)
    return tuple(rows)


@lru_cache(maxsize=1024)
def _read_file(
    path: str, version: tuple[int, int], video: str, columns: tuple[str, ...]
) -> tuple[ArrowRow, ...]:  # the version is for the cache
    import pyarrow as pa

    try:
        with pa.memory_map(path) as mapped:
            whole = mapped.read_buffer(version[0])
            reader = pa.ipc.open_stream(pa.BufferReader(whole))
            missing = [name for name in (video, *columns) if name not in reader.schema.names]
            if missing:
                raise InputError(path, f"no column {missing[0]!r}", allowed=shorten_list(reader.schema.names))
            return tuple(_rows(path, reader, whole, video, columns))
    except pa.ArrowException as error:
        raise InputError(path, f"not an Arrow stream: {' '.join(str(error).split())[:160]}", fix=_SAVE) from error


def _rows(path: str, reader: Any, whole: Any, video: str, columns: tuple[str, ...]) -> Iterator[ArrowRow]:
    import pyarrow as pa

    number = 0
    for batch in reader:
        column = batch.column(video)
        if pa.types.is_struct(column.type) and {"bytes", "path"} <= {field.name for field in column.type}:
            contents, paths = column.field("bytes"), column.field("path").to_pylist()
        elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            contents, paths = column, [None] * len(column)
        else:
            raise InputError(path, f"the column {video!r} is {column.type}", allowed="videos: struct<bytes, path>")
        others = {name: batch.column(name).to_pylist() for name in columns}
        for place, (extent, said) in enumerate(zip(_extents(path, contents, whole), paths, strict=True)):
            address = part_address(path, *extent) if extent else ""
            yield ArrowRow(
                address, said or "", {name: values[place] for name, values in others.items()}, f"{path}:[{number}]"
            )
            number += 1


def _extents(path: str, contents: Any, whole: Any) -> Iterator[tuple[int, int] | None]:
    """The byte range of each value in the file.

    The file is memory-mapped, and the buffer of a column is a part of the map.
    """
    import numpy as np
    import pyarrow as pa

    _, offsets, data = contents.buffers()
    width = np.int64 if pa.types.is_large_binary(contents.type) else np.int32
    begins = np.frombuffer(offsets, dtype=width)[contents.offset : contents.offset + len(contents) + 1]
    first = data.address - whole.address if data else 0
    if not 0 <= first <= whole.size - (data.size if data else 0):
        raise InputError(path, "the file is compressed, so its videos cannot be read alone", fix=_SAVE)
    for place, is_there in enumerate(contents.is_valid().to_pylist()):
        begin, end = int(begins[place]), int(begins[place + 1])
        yield (first + begin, end - begin) if is_there else None


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(path), f"it cannot be read: {os.strerror(error.errno or 0)}", fix=_SAVE) from error
    except ValueError as error:
        raise InputError(str(path), f"not JSON: {error}", fix=_SAVE) from error
    return document if isinstance(document, dict) else {}
