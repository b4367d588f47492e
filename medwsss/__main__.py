# SPDX-License-Identifier: Apache-2.0
"""From data to tables: prepare a study, check it, find the bundle that trains on it, predict, compare, draw on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def _prepare(words: Sequence[str]) -> int:
    from data_prep.__main__ import main

    return main(words, prog="medwsss prepare")


def _check(words: Sequence[str]) -> int:
    from data_prep.__main__ import main

    return main(["check", *words], prog="medwsss")


def _bundle(words: Sequence[str]) -> int:
    from medwsss.bundle.location import main

    return main(words, prog="medwsss bundle")


def _infer(words: Sequence[str]) -> int:
    from medwsss.bundle.infer import main

    return main(words, prog="medwsss infer")


def _blocks(words: Sequence[str]) -> int:
    from medwsss.blocks.command import main

    return main(words, prog="medwsss blocks")


def _export(words: Sequence[str]) -> int:
    from medwsss.bundle.export import main

    return main(words, prog="medwsss export")


def _nnunet(words: Sequence[str]) -> int:
    from medwsss.nnunet.__main__ import main

    return main(words, prog="medwsss nnunet")


def _compare(words: Sequence[str]) -> int:
    from medwsss.experiments.__main__ import main

    return main(["compare", *words], prog="medwsss")


def _advise(words: Sequence[str]) -> int:
    from medwsss.advice.command import main

    return main(words, prog="medwsss advise")


#: What each command is for, and the door to it; what lies behind is imported when somebody goes through.
COMMANDS = {
    "prepare": ("bring data into the form the bundles read, or draw strokes: python -m data_prep", _prepare),
    "check": ("check a data list before training on it", _check),
    "bundle": ("where the bundles are; copy them", _bundle),
    "infer": ("predict the images of a folder with what a training left in its own", _infer),
    "blocks": ("pseudo-labels of images larger than memory, block by block, in many processes", _blocks),
    "export": ("write a trained network as TorchScript or ONNX", _export),
    "nnunet": ("the folder where nnU-Net finds the trainer with pseudo-labels", _nnunet),
    "compare": ("train a list of methods under one budget: python -m medwsss.experiments compare", _compare),
    "advise": ("where the next strokes help most, by what a run is in doubt about", _advise),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: the command line's) begin with and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="medwsss", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (summary, _) in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    _, door = COMMANDS[parser.parse_args(words[:1]).command]
    try:
        return door(words[1:])
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
