# SPDX-License-Identifier: Apache-2.0
"""Where to take patches from: around seeds, every class alike, or everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.config import NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_tensor
from scipy.ndimage import uniform_filter
from torch import Tensor

from medwsss.keys import VOID
from medwsss.terms.simplex import seed_mask

__all__ = ["SeedWeights"]


class SeedWeights(Transform):
    """Sampling weights of patch centres for ``RandWeightedCropd``: how much of the seeds a patch holds.

    A seed of class ``k`` counts ``1 / |S_k|``, so that every class that the case has weighs the same, however little of
    it is annotated. Seeds come to lie anywhere in a patch, not only at its centre: a network that never sees a seed
    near the border of a patch learns nothing there, and is wrong along the borders of whole images. In a case without
    seeds it is how much of the patch exists; 0 throughout, which ``RandWeightedCropd`` takes as uniform, if all does.

    Args:
        patch_size: of the patches to crop, one number an axis.
        everywhere: share of the patches to take without regard to seeds, wherever the image exists.

    Raises:
        ValueError: for a share outside 0 to 1.

    Shape:
        - scribble: ``1 *S`` integers, classes, ``UNLABELED`` and ``VOID``.
        - output: ``1 *S`` float32.

    Example:
        >>> weights = SeedWeights([3])(torch.tensor([[0, 0, 255, 255, 255, 255, 1]]))
        >>> (6 * weights).round().tolist()  # two seeds of class 0 weigh what one of class 1 does
        [[2.0, 2.0, 1.0, 0.0, 0.0, 2.0, 2.0]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, patch_size: Sequence[int], everywhere: float = 0.0) -> None:
        if not 0 <= everywhere <= 1:
            raise ValueError(f"expected a share everywhere from 0 to 1, got {everywhere}")
        self.patch_size = tuple(patch_size)
        self.everywhere = everywhere

    def __call__(self, scribble: NdarrayOrTensor) -> Tensor:
        """Weights of one case."""
        labels: Tensor = convert_to_tensor(scribble, track_meta=False)
        weights = torch.zeros(labels.shape, dtype=torch.float64)
        for k in labels[seed_mask(labels)].unique():
            members = labels == k
            weights[members] = 1 / members.sum().double()
        void = labels == VOID
        if not weights.any() and void.any():
            weights[~void] = 1
        held = uniform_filter(
            weights[0].numpy(), self.patch_size, mode="constant"
        )  # mean over the patch at each centre
        result = torch.from_numpy(held)[None].clamp_min(0)
        result = torch.where(result > 1e-9 * result.amax(), result, 0)  # what rounding leaves of a running sum
        if self.everywhere and not void.all():
            result = (1 - self.everywhere) * result / result.sum().clamp_min(torch.finfo(result.dtype).tiny)
            result[~void] += self.everywhere / (~void).sum()
        return result.float()
