# SPDX-License-Identifier: Apache-2.0
"""Where to take patches from: around seeds, every class alike."""

from __future__ import annotations

import torch
from monai.config import NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_tensor
from torch import Tensor

from medwsss.terms.simplex import seed_mask

__all__ = ["SeedWeights"]


class SeedWeights(Transform):
    """Sampling weights ``1 / |S_k|`` on the seeds ``S_k`` of each class ``k``, 0 elsewhere, for ``RandWeightedCropd``.

    A patch's centre is then a seed, with equal chance for every class that the case has, however little of it is
    annotated. A case without seeds has weight 0 throughout, which ``RandWeightedCropd`` takes as uniform.

    Shape:
        - scribble: ``1 *S`` integers, classes, ``UNLABELED`` and ``VOID``.
        - output: ``1 *S`` float32.
    """

    backend = [TransformBackends.TORCH]

    def __call__(self, scribble: NdarrayOrTensor) -> Tensor:
        """Weights of one case."""
        labels: Tensor = convert_to_tensor(scribble)
        weights = torch.zeros_like(labels, dtype=torch.float32)
        for k in labels[seed_mask(labels)].unique():
            members = labels == k
            weights[members] = 1 / members.sum().float()
        return weights
