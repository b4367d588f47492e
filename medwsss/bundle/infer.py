# SPDX-License-Identifier: Apache-2.0
"""Predict the images of a folder, or of a data list (.json), with what a training left in its folder::

    medwsss infer output/scribble my_images --output_dir my_predictions --uncertainty True

It is the command ``python -m monai.bundle run --config_file …/inference.json --run_dir RUN --source SOURCE`` with the
bundle that the run is of. What follows the two names are options of that bundle's inference, which its page lists.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from monai import bundle as monai_bundle

from medwsss.bundle.command_line import cause_of
from medwsss.bundle.location import bundle_folder
from medwsss.bundle.run_folder import read_run


def main(arguments: Sequence[str], prog: str) -> int:
    """Run the inference of a run's bundle in this process; what goes wrong is raised without MONAI's wrappers."""
    formatter = argparse.RawDescriptionHelpFormatter
    usage = "%(prog)s RUN SOURCE [--name value ...]"
    parser = argparse.ArgumentParser(prog, usage, __doc__, formatter_class=formatter, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", help="folder with the model.pt and the settings.json of a training")
    parser.add_argument("source", metavar="SOURCE", help="folder of images, or a data list")
    told, options = parser.parse_known_args(arguments)
    bundle, _ = read_run(told.run)
    command = Path(monai_bundle.__file__).with_name("__main__.py")
    config = bundle_folder(bundle) / "inference.json"
    names = ["--config_file", str(config), "--run_dir", told.run, "--source", told.source]
    before, sys.argv = sys.argv, [str(command), "run", *names, *options]
    try:
        runpy.run_module("monai.bundle", run_name="__main__")
    except RuntimeError as error:
        raise cause_of(error)  # noqa: B904
    finally:
        sys.argv = before  # else the next run in this process takes these options for its own
    return 0
