# SPDX-License-Identifier: Apache-2.0
"""``python -m data_prep <command>``: bring data into the form the bundles read, make strokes, check a data list."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from data_prep.engine.options import add_arguments, of

#: A command's module and what it is for. A module has ``Options``, a dataclass, and ``run(options)``, which returns the
#: exit code. Only the module of the command that is asked for gets imported: some take seconds.
COMMANDS = {
    "acdc": ("data_prep.converters.acdc", "ACDC with expert scribbles: NIfTI, or WSL4MIS's HDF5"),
    "ade20k": (
        "data_prep.converters.ade20k",
        "ADE20K as in the scene parsing challenge, with published or drawn blocks",
    ),
    "camvid": ("data_prep.converters.camvid", "CamVid, with blocks or strokes drawn into its masks"),
    "chaos": ("data_prep.converters.chaos", "CHAOS: DICOM series with PNG masks, MR and CT"),
    "check": ("data_prep.check", "check a data list before training on it"),
    "cityscapes": ("data_prep.converters.cityscapes", "Cityscapes, with published or drawn blocks"),
    "decathlon": ("data_prep.converters.decathlon", "a Medical Segmentation Decathlon task, or data in its layout"),
    "folder": (
        "data_prep.converters.folder",
        "any folder of images with a folder of masks, by name pattern and label table",
    ),
    "mscmr": ("data_prep.converters.mscmr", "MSCMR with expert scribbles, as CycleMix lays it out"),
    "nnunet": (
        "data_prep.converters.nnunet",
        "an nnU-Net v2 raw data set, dense or with an ignore label; ScribbleBench in both variants",
    ),
    "nnunet_raw": ("data_prep.nnunet_raw", "the other way round: a data list as an nnU-Net v2 raw data set"),
    "phantom": ("data_prep.phantom", "seeded 3-D phantoms with scribbles; no download"),
    "rasters": (
        "data_prep.converters.rasters",
        "scenes on the earth (GeoTIFF) with a layer of points, lines, polygons",
    ),
    "scenes": ("data_prep.scenes", "seeded scenes with image tags; no download"),
    "scribbles": (
        "data_prep.scribbles",
        "strokes of any kind and length drawn into dense masks, or existing ones shortened",
    ),
    "strokes": (
        "data_prep.converters.strokes",
        "what people drew with LabelMe, CVAT, Label Studio, QuPath, ImageJ, napari, ilastik, 3D Slicer … as scribbles",
    ),
    "tags": ("data_prep.tags", "tags for a data list: of dense masks, a table or folders of classes"),
    "voc": ("data_prep.converters.voc", "PASCAL VOC 2012 with SBD and the strokes of ScribbleSup"),
    "word": ("data_prep.converters.word", "WORD, abdominal CT: its own layout, with or without scribbles"),
}


def parser_of(words: Sequence[str], prog: str) -> tuple[argparse.ArgumentParser, Any]:
    """The parser of a command line, and the module of the command asked for, if there is one."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    command: Any = None
    for name, (module, summary) in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == asked:
            command = importlib.import_module(module)
            subparser.description = command.__doc__
            add_arguments(subparser, command.Options)
    return parser, command


def main(arguments: Sequence[str] | None = None, prog: str = "python -m data_prep") -> int:
    """Parse ``arguments`` (default: the command line's), run the command asked for and return its exit code.

    Bad input (``ValueError``, ``OSError``) ends with its message alone and exit code 1.
    """
    words = sys.argv[1:] if arguments is None else arguments
    parser, command = parser_of(words, prog)
    told = parser.parse_args(words)
    try:
        return int(command.run(of(command.Options, told)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
