# SPDX-License-Identifier: Apache-2.0
"""``python -m data_prep <data set> --output <folder>``: bring a data set into the form the bundles read."""

from __future__ import annotations

import argparse
from pathlib import Path

from data_prep.phantom import make_phantom_study


def main(arguments: list[str] | None = None) -> None:
    """Parse ``arguments`` (default: the command line's) and make the data set asked for."""
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    data_sets = parser.add_subparsers(dest="data_set", required=True)
    phantom = data_sets.add_parser("phantom", help="seeded 3-D phantoms with scribbles; no download")
    phantom.add_argument("--output", type=Path, required=True, help="folder to write the study to")
    phantom.add_argument("--training", type=int, default=16, help="training volumes (default: 16)")
    phantom.add_argument("--validation", type=int, default=4, help="validation volumes (default: 4)")
    phantom.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(arguments))
    makers = {"phantom": make_phantom_study}
    print(makers[options.pop("data_set")](options.pop("output"), **options))


if __name__ == "__main__":
    main()
