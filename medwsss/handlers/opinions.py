# SPDX-License-Identifier: Apache-2.0
"""What network and solver say of a whole case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from monai.utils import convert_to_tensor
from torch import Tensor

from medwsss.handlers.volume_labels import VolumeLabelHandler
from medwsss.keys import GUIDE, IMAGE, SCRIBBLE

__all__ = ["Opinions", "opinions"]


class Opinions(NamedTuple):
    """What network and solver say of one case, and what they saw, all on the CPU and without a batch axis."""

    guide: Tensor  #: ``C *S``
    scribble: Tensor  #: ``1 *S``
    sigma: Tensor  #: ``K *S``, the network's
    y: Tensor  #: ``K *S``, the pseudo-labels of the whole case


@torch.no_grad()
def opinions(case: Mapping[str, Any], handler: VolumeLabelHandler, device: torch.device) -> Opinions:
    """Predict a case and solve its pseudo-labels, as the run of this handler would.

    Args:
        case: image, scribble and, if there are, guide and prior.
        handler: of the run, for its network, inferer and solver.
        device: of the network.
    """
    image, guide, scribble = (
        convert_to_tensor(case[key], track_meta=False)[None]
        for key in (IMAGE, GUIDE if GUIDE in case else IMAGE, SCRIBBLE)
    )
    sigma = handler.predict(image.to(device))
    return Opinions(*(x[0].cpu() for x in (guide, scribble, sigma, handler.solve(case, sigma).labels)))
