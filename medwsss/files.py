# SPDX-License-Identifier: Apache-2.0
"""Files that survive a kill at any moment, here or where fsspec leads, and JSON that is what it should be.

A file is written under a temporary name in the same folder, fsynced, renamed onto its final name, and the folder
fsynced: a reader sees the old file or the new one, whole, whatever happens in between. At a URL it is sent in one of
fsspec's transactions, which is the same in stores of objects.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from monai.utils import optional_import
from torch.nn.parallel import DataParallel, DistributedDataParallel

upath, has_upath = optional_import("upath")

#: How others' folders are looked at: anew each time, as others write there, too.
REMOTE = {"use_listings_cache": False}


def location(name: str | os.PathLike) -> Path:
    """A path, or what fsspec finds at a URL, such as ``s3://bucket/run``, with a path's methods.

    Raises:
        ImportError: with the command that installs what a URL needs.
        ValueError: naming a URL of a kind that fsspec does not know, or of this process's memory.
    """
    if "://" not in str(name):
        return Path(name)
    if not has_upath:
        raise ImportError(f"{name} needs fsspec: pip install 'medwsss[remote]', or universal-pathlib")
    try:
        found = upath.UPath(name, **REMOTE)
        kinds = found.fs.protocol
    except (ValueError, ImportError) as error:
        raise ValueError(f"expected a URL that fsspec opens, got {name}: {error}") from error
    if "memory" in kinds:
        raise ValueError(f"expected a URL that outlives this process, got {name}")
    return Path(found.path) if "file" in kinds else cast(Path, found)


def require_writable(folder: Path) -> None:
    """Find out before hours of work.

    Raises:
        OSError: naming the folder, where nothing can be written.
    """
    probe = folder / "writable"
    write_atomically(memoryview(b"yes"), probe)
    probe.unlink()


def delete(folder: Path) -> None:
    """A folder and all that is in it, where there is one."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)


@contextmanager
def delivered(folder: Path) -> Iterator[Path]:
    """Where files are written that shall end up in a folder: there, or, for a URL, in one of this machine's.

    From the latter they are sent when all are whole.
    """
    if isinstance(folder, Path):
        yield folder
        return
    with TemporaryDirectory() as here:
        yield Path(here)
        for path in sorted(Path(here).iterdir()):
            with writing(folder / path.name):
                folder.fs.put_file(str(path), (folder / path.name).path)


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
    if not isinstance(path, Path):
        _send(data, path)
        return
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk needs the room
            raise


def _send(data: memoryview, path: Any) -> None:
    with writing(path), path.fs.transaction:
        path.write_bytes(bytes(data))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of what is done within name the path."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter of what can only be read
        told = f"expected to write {path}, got: {getattr(error, 'strerror', None) or error or type(error).__name__}"
        number = getattr(error, "errno", None)
        raise (OSError(number, told) if number else OSError(told)) from error


def finish(written: Path, path: Path) -> None:
    """A file that somebody else has written, in the folder of ``path``, gets that name once it is on the disk."""
    sync(written)
    _rename(written, path)


def sync(path: Path) -> None:
    """A file, or all those in a folder, reach the disk; what is at a URL has."""
    if not isinstance(path, Path):
        return
    for each in path.rglob("*") if path.is_dir() else [path]:
        if each.is_file():
            with open(each, "rb") as file:
                os.fsync(file.fileno())


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
        content = json.loads(location(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"expected {what} in JSON, got {path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected {what}, got a {type(content).__name__} in {path}")
    return content


def write_json(content: Any, path: str | os.PathLike) -> None:
    """Indented JSON, whole or not at all; NaN, which JSON does not know, is null."""
    text = json.dumps(_without_nan(content), indent=2)
    write_atomically(memoryview((text + "\n").encode()), location(path))


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
