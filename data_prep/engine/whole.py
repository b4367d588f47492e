# SPDX-License-Identifier: Apache-2.0
"""A study that is made, not converted: it appears complete or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path


def make_whole(folder: str | Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a folder beside ``folder``, and rename it to that at the end.

    Returns:
        path of its ``dataset.json``; another process may have made the same study meanwhile.

    Raises:
        ValueError: ``folder`` holds something else already.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        study = Path(temporary) / "study"
        write(study)
        try:
            study.rename(folder)
        except OSError as error:
            if not (folder / "dataset.json").exists():
                raise ValueError(f"expected {folder} to be absent or empty, got a folder or file in use") from error
    return folder / "dataset.json"
