# SPDX-License-Identifier: Apache-2.0
"""Write the network of a run for use elsewhere: as TorchScript (model.ts), as ONNX (model.onnx), or as a MONAI bundle::

    medwsss export output/scribble --format onnx
    medwsss export output/scribble --format bundle --output heart_from_scribbles

The first two take batches and images of any size that the network takes, prepared as for training, and return logits.
A bundle is a folder for ``monai.bundle``, MONAI Label, MONAI Deploy and hubs: configuration, weights in three formats,
a model card and checksums. Whatever is written has first been compared with the network.
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
    told = parser.parse_args(arguments)
    is_bundle = told.format == "bundle"
    print(pack_run(told.run, told.output) if is_bundle else export_run(told.run, told.format, told.output))
    return 0
