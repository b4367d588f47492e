# SPDX-License-Identifier: Apache-2.0
"""Write the network of a run for use elsewhere: as TorchScript (model.ts), as ONNX (model.onnx), or as a MONAI bundle::

    medwsss export output/scribble --format onnx
    medwsss export output/scene --format deepness --resolution 30
    medwsss export output/scribble --format bundle --output heart_from_scribbles

TorchScript and ONNX take batches and images of any size that the network takes, prepared as for training, and return
logits; ONNX for Deepness, a plugin of QGIS, takes the grey levels of scenes in bytes and returns probabilities. A
bundle is a folder for ``monai.bundle`` and hubs, named as MONAI Label and MONAI Deploy look for it: configuration,
weights in three formats, a model card and checksums. Whatever is written has first been compared with the network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from medwsss.bundle.export import FORMATS, export_run
from medwsss.bundle.packing import pack_run


def main(arguments: Sequence[str], prog: str) -> int:
    """Write the file or folder and print its name."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=formatter)
    parser.add_argument("run", metavar="RUN", help="folder with the model.pt and the settings.json of a training")
    parser.add_argument("--format", choices=[*FORMATS, "bundle"], default="torchscript")
    parser.add_argument("--output", metavar="PATH", help="default: model.ts, model.onnx or the folder bundle in RUN")
    parser.add_argument("--resolution", type=float, metavar="CM", help="centimetres a pixel, for deepness")
    told = parser.parse_args(arguments)
    if told.format != "bundle":
        print(export_run(told.run, told.format, told.output, told.resolution))
    elif told.resolution is None:
        print(pack_run(told.run, told.output))
    else:
        raise ValueError(f"expected --resolution with --format deepness, got {told.resolution:g} with bundle")
    return 0
