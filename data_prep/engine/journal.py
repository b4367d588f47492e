# SPDX-License-Identifier: Apache-2.0
"""Which cases of an unfinished conversion are done: a file of JSON lines in the output folder.

The first line says what is being made, each further line is one finished case. Only a finished data list replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medwsss.files import read_json, write_atomically
from medwsss.keys import IMAGE, LABEL, SCRIBBLE

Item = dict[str, Any]  #: one entry of a data list


class Journal:
    """The record in ``folder`` of making the study with ``fingerprint``.

    Attributes:
        items: the finished cases' entries by name.
        complete: whether the folder's data list says that this very study is finished.

    Raises:
        ValueError: the folder holds something else, and not ``force``.
    """

    name = ".conversion.jsonl"

    def __init__(self, folder: Path, datalist: Path, fingerprint: str, force: bool = False) -> None:
        self.path = folder / self.name
        self.header = {"fingerprint": fingerprint}
        self.items: dict[str, Item] = {}
        lines = list(self._read())
        self.complete = not force and datalist.exists() and self.header.items() <= read_json(datalist).items()
        if lines[:1] == [self.header]:
            self.items = {line["name"]: line["item"] for line in lines[1:] if _all_exist(line["item"], folder)}
        elif not (self.complete or force) and folder.exists():
            if any(not path.name.startswith(self.name) for path in folder.iterdir()):
                raise ValueError(
                    f"expected an absent, empty or unfinished output (or --force), got one in use: {folder}"
                )

    def begin(self) -> None:
        """Start over, with the cases that are done; drops a line that was being written when the process died."""
        lines = [self.header, *({"name": name, "item": item} for name, item in self.items.items())]
        write_atomically(memoryview("".join(json.dumps(line) + "\n" for line in lines).encode()), self.path)

    def add(self, name: str, item: Item) -> None:
        """Record a case whose files are all there."""
        self.items[name] = item
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "item": item}) + "\n")

    def end(self) -> None:
        """Remove the record: the data list is written."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            try:
                yield json.loads(line)
            except ValueError:
                return


def file_names(item: Mapping[str, Any]) -> list[str]:
    """All files of an entry, relative to its data list."""
    values = [item[key] for key in (IMAGE, SCRIBBLE, LABEL) if key in item]
    return [name for value in values for name in ([value] if isinstance(value, str) else value)]


def _all_exist(item: Mapping[str, Any], folder: Path) -> bool:
    return all((folder / name).exists() for name in file_names(item))
