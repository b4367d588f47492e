# SPDX-License-Identifier: Apache-2.0
"""How a weakly annotated batch reaches MONAI's stock ``SupervisedTrainer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor
from torch import Tensor

from medwsss.keys import GUIDE, IMAGE, SCRIBBLE

__all__ = ["PrepareWeakBatch"]


class PrepareWeakBatch(PrepareBatch):
    """Batch → ``(image, {"scribble": …, "guide": …})``, the form that losses and ``PseudoLabelHandler`` read.

    Args:
        scribble_key: the batch's entry that trains the network; name the dense mask here for full supervision.
        guide_key: the batch's entry that contrast weights look at; absent from the batch, the image takes its place.

    Raises:
        KeyError: when the batch has no image or no scribble.

    Example:
        >>> batch = {"image": torch.zeros(2, 1, 8, 8), "scribble": torch.full((2, 1, 8, 8), 255)}
        >>> image, targets = PrepareWeakBatch()(batch)
        >>> sorted(targets), targets["guide"] is image  # no guide of its own: contrasts are the image's
        (['guide', 'scribble'], True)
    """

    def __init__(self, scribble_key: str = SCRIBBLE, guide_key: str = GUIDE) -> None:
        self.scribble_key = scribble_key
        self.guide_key = guide_key

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        def put(tensor: Tensor, **to: Any) -> Tensor:
            # Plain tensors: MetaTensor's bookkeeping costs more than the small operations of a loss.
            plain: Tensor = convert_to_tensor(tensor, track_meta=False)
            return plain.to(device=device, non_blocking=non_blocking, **to)

        for key in (IMAGE, self.scribble_key):
            if key not in batchdata:
                raise KeyError(f"expected {key!r} in the batch, got {sorted(batchdata)}")
        image = put(batchdata[IMAGE], **kwargs)
        guide = put(batchdata[self.guide_key]) if self.guide_key in batchdata else image
        return image, {SCRIBBLE: put(batchdata[self.scribble_key]), GUIDE: guide}
