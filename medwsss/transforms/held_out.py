# SPDX-License-Identifier: Apache-2.0
"""Seeds set aside: what a network never saw tells how good it is, without a dense mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import get_track_meta
from monai.transforms import Compose, MapTransform
from monai.utils import ImageMetaKey, TransformBackends, convert_to_tensor, ensure_tuple, ensure_tuple_rep
from scipy import ndimage
from skimage import measure

from medwsss.keys import HELD_OUT, SCRIBBLE, UNLABELED
from medwsss.terms.simplex import seed_mask
from medwsss.transforms.scribbles.strokes import shorten

__all__ = ["HoldOutSeedsD", "HoldOutSeedsDict", "HoldOutSeedsd", "keep_all_seeds"]


class HoldOutSeedsd(MapTransform):
    """Move a share of each class's seeds into a second map, the same ones whenever the case is loaded.

    A stroke is a connected component of a class. In an order drawn for each case and class, strokes are set aside
    whole, as many as fit into the share; where not even the first does, a connected part around its middle is, because
    a voxel next to a seed is no test. Seeds of a smaller share are therefore among those of a larger one, each class
    keeps at least one, and what is set aside falls short of the share by less than a stroke.

    Args:
        keys: keys of the scribbles, with values as :py:class:`medwsss.transforms.MapWeakLabels` makes them.
        share: of a class's seeds in a case to set aside at most, at least 0 and less than 1.
        seed: of the drawing; what else decides is the scribble's file name.
        names: where the seeds set aside go, a name for each of ``keys``; ``UNLABELED`` elsewhere.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: for a share out of its range.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        keys: KeysCollection = SCRIBBLE,
        share: float = 0.2,
        seed: int = 0,
        names: KeysCollection = HELD_OUT,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= share < 1:
            raise ValueError(f"expected a share of at least 0 and less than 1, got {share}")
        self.share, self.seed = share, seed
        self.names = ensure_tuple_rep(names, len(self.keys))

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Split every scribble, ``1 *S``, under ``keys``."""
        d = dict(data)
        for key, name in self.key_iterator(d, self.names):
            scribble: torch.Tensor = convert_to_tensor(d[key], track_meta=get_track_meta())
            file = ensure_tuple(getattr(scribble, "meta", {}).get(ImageMetaKey.FILENAME_OR_OBJ, ""))[0]
            chosen = torch.zeros(scribble.shape, dtype=torch.bool)
            for k in map(int, scribble[seed_mask(scribble)].unique()):
                rng = np.random.default_rng([self.seed, crc32(Path(str(file)).name.encode()), k])
                chosen[0][tuple(self._choose(scribble[0].numpy(force=True) == k, rng).T)] = True
            chosen = chosen.to(scribble.device)
            d[key], d[name] = (scribble.masked_fill(mask, UNLABELED) for mask in (chosen, ~chosen))
        return d

    def _choose(self, seeds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The voxels to set aside, ``N × axes``, of a class's."""
        goal = int(self.share * seeds.sum())
        numbered = measure.label(seeds, connectivity=seeds.ndim)
        order = 1 + rng.permutation(numbered.max())
        fits = np.bincount(numbered.ravel())[order].cumsum() <= goal
        if fits[0]:
            return np.argwhere(np.isin(numbered, order[fits]))
        box = ndimage.find_objects(numbered)[order[0] - 1]
        first = numbered[box] == order[0]
        plane = first.reshape(*first.shape, *[1] * (2 - first.ndim))  # thinning knows no lines
        return np.asarray(shorten(plane)[:goal, : seeds.ndim] + [side.start for side in box])


def keep_all_seeds(transform: Compose) -> Compose:
    """The same way to prepare a case, with nothing set aside."""
    return Compose([each for each in transform.transforms if not isinstance(each, HoldOutSeedsd)])


HoldOutSeedsD = HoldOutSeedsDict = HoldOutSeedsd
