# SPDX-License-Identifier: Apache-2.0
"""Where the bundles are, in a clone as in an installed package::

    python -m monai.bundle run training --config_file "$(medwsss bundle scribble)/train.json"

Files of scribble_2d name others as bundles/scribble/…, seen from the working folder: ``--copy .`` puts them there.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"  # in a clone a link


def bundle_names() -> list[str]:
    """The bundles there are."""
    return sorted(path.parent.name for path in BUNDLES.glob("*/train.json"))


def bundle_folder(name: str, bundles: Path | None = None) -> Path:
    """The absolute folder of a bundle.

    Raises:
        ValueError: for a name that none has.
    """
    if name not in bundle_names():
        raise ValueError(f"expected a bundle of {', '.join(bundle_names())}, got {name}")
    return (bundles or BUNDLES).resolve() / name


def copy_bundles(folder: Path) -> Path:
    """Copy all bundles, without what was trained in them, to ``folder/bundles``, which is returned.

    Raises:
        ValueError: where that is in use.
    """
    target = folder / "bundles"
    if target.exists() or target.is_symlink():
        raise ValueError(f"expected a folder without bundles to copy them to, got {target}")
    shutil.copytree(BUNDLES, target, symlinks=True, ignore=shutil.ignore_patterns("models"))
    return target


def main(arguments: Sequence[str], prog: str) -> int:
    """Print the folder of a bundle, or the names of all; copy them first if that is asked for."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=formatter)
    parser.add_argument("name", nargs="?", help="of a bundle, whose folder is printed; without it, the names of all")
    parser.add_argument("--copy", type=Path, metavar="FOLDER", help="copy all bundles to FOLDER/bundles")
    told = parser.parse_args(arguments)
    if told.name is not None:
        bundle_folder(told.name)  # before anything is copied
    bundles = BUNDLES if told.copy is None else copy_bundles(told.copy)
    print("\n".join(bundle_names()) if told.name is None else bundle_folder(told.name, bundles))
    return 0
