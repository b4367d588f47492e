# SPDX-License-Identifier: Apache-2.0
"""Print the folder where nnU-Net finds the trainer::

    export nnUNet_extTrainer=$(python -m medwsss nnunet)
    nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerSelfLabeling

Training and prediction both need the variable.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from medwsss.nnunet.settings import read_settings


def main(arguments: Sequence[str] | None = None, prog: str = "python -m medwsss.nnunet") -> int:
    """Print it.

    Raises:
        ImportError: without nnU-Net.
        ValueError: for settings in the environment that the trainer would refuse.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=formatter).parse_args(arguments)
    if importlib.util.find_spec("nnunetv2") is None:
        raise ImportError('expected nnU-Net 2.8: pip install "medwsss[nnunet]"')
    read_settings({})
    print(Path(__file__).parent / "external")
    return 0


if __name__ == "__main__":
    sys.exit(main())
