# SPDX-License-Identifier: Apache-2.0
"""``python -m data_prep <command>``: bring data into the form the bundles read, make strokes, check a data list."""

from __future__ import annotations

import argparse
import importlib
import sys

#: Module of :mod:`data_prep` a command, with what it is for; each has ``add_arguments(parser)`` and ``run(arguments)``,
#: which returns the exit code.
COMMANDS = {
    "acdc": "ACDC with expert scribbles: NIfTI, or WSL4MIS's HDF5",
    "ade20k": "ADE20K as in the scene parsing challenge, with published or drawn blocks",
    "camvid": "CamVid, with blocks or strokes drawn into its masks",
    "chaos": "CHAOS: DICOM series with PNG masks, MR and CT",
    "check": "check a data list before training on it",
    "cityscapes": "Cityscapes, with published or drawn blocks",
    "decathlon": "a Medical Segmentation Decathlon task, or data in its layout",
    "folder": "any folder of images with a folder of masks, by name pattern and label table",
    "mscmr": "MSCMR with expert scribbles, as CycleMix lays it out",
    "nnunet": "an nnU-Net v2 raw data set, dense or with an ignore label; ScribbleBench in both variants",
    "phantom": "seeded 3-D phantoms with scribbles; no download",
    "scribbles": "strokes of any kind and length drawn into dense masks, or existing ones shortened",
    "voc": "PASCAL VOC 2012 with SBD and the strokes of ScribbleSup",
    "word": "WORD, abdominal CT: its own layout, with or without scribbles",
}


def main(arguments: list[str] | None = None) -> int:
    """Parse ``arguments`` (default: the command line's), run the command asked for and return its exit code.

    Bad input (``ValueError``, ``OSError``) ends with its message alone and exit code 1.
    """
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    modules = {name: importlib.import_module(f"data_prep.{name}") for name in COMMANDS}
    for name, summary in COMMANDS.items():
        modules[name].add_arguments(
            commands.add_parser(
                name,
                help=summary,
                description=modules[name].__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    options = parser.parse_args(arguments)
    try:
        return modules[options.command].run(options)  # type: ignore[no-any-return]
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
