# SPDX-License-Identifier: Apache-2.0
"""Where nnU-Net finds the trainer. The class stays in the package, so that processes of any kind can import it."""

from __future__ import annotations

from medwsss.nnunet.trainer import nnUNetTrainerSelfLabeling

__all__ = ["nnUNetTrainerSelfLabeling"]
