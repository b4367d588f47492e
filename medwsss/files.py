# SPDX-License-Identifier: Apache-2.0
"""Files that survive a kill at any moment, and JSON that is what it should be.

A file is written under a temporary name in the same folder, fsynced, renamed onto its final name, and the folder
fsynced: a reader sees the old file or the new one, whole, whatever happens in between.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DataParallel, DistributedDataParallel


def save_atomically(obj: Any, path: str | os.PathLike) -> None:
    """``torch.save`` that leaves the old file or the new one at ``path``, never a part of either.

    Args:
        obj: what ``torch.load(path, weights_only=True)`` shall return.
        path: final name; its folder is made if absent, ``path`` + ``.tmp`` is used on the way.

    Raises:
        OSError: when the file cannot be written (disk full, no permission); names the file.
    """
    write_atomically(serialize(obj), Path(path))


def serialize(obj: Any) -> memoryview:
    """The bytes ``torch.save`` writes: also a copy of the state that later steps do not touch."""
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getbuffer()


def write_atomically(data: memoryview, path: Path) -> None:
    """Like :func:`save_atomically`, for bytes from :func:`serialize`."""
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)  # a full disk needs the room
        raise OSError(error.errno, f"expected to write {path}, got: {error.strerror}") from error


def finish(written: Path, path: Path) -> None:
    """A file that somebody else has written, in the folder of ``path``, gets that name once it is on the disk."""
    with open(written, "rb") as file:
        os.fsync(file.fileno())
    _rename(written, path)


def _rename(written: Path, path: Path) -> None:
    os.replace(written, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself lives in the folder
    finally:
        os.close(folder)


def load_verified(path: Path) -> Any:
    """``torch.load`` to the CPU, of plain values and tensors only, after a look at the checksums, which PyTorch skips.

    Raises:
        Exception: of various types, for a file that is not there, not whole or not what was written.
    """
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise OSError(f"expected intact data in {path}, got a wrong checksum of {damaged}")
    return torch.load(path, map_location="cpu", weights_only=True)


def bare(obj: Any) -> Any:
    """The module inside a data-parallel wrapper, so that a file does not depend on the number of processes."""
    return obj.module if isinstance(obj, (DataParallel, DistributedDataParallel)) else obj


def read_json(path: str | os.PathLike, what: str = "a JSON object") -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: the file.
        what: it should be, for the error.

    Raises:
        ValueError: where there is none, naming the file.

    Example:
        >>> write_json({"labels": {"0": "background"}}, "dataset.json")
        >>> read_json("dataset.json")
        {'labels': {'0': 'background'}}
        >>> read_json("a.json", "a label table")
        Traceback (most recent call last):
        ValueError: expected a label table in JSON, got a.json: [Errno 2] No such file or directory: 'a.json'
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"expected {what} in JSON, got {path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected {what}, got a {type(content).__name__} in {path}")
    return content


def write_json(content: Any, path: str | os.PathLike) -> None:
    """Indented JSON, whole or not at all; NaN, which JSON does not know, is null."""
    text = json.dumps(_without_nan(content), indent=2)
    write_atomically(memoryview((text + "\n").encode()), Path(path))


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
