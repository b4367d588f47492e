# SPDX-License-Identifier: Apache-2.0
"""Contours of activation maps are pulled to colour edges, for the classes that an image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medwsss.keys import GUIDE
from medwsss.losses.precision import without_autocast
from medwsss.losses.tags import TaggedMaps, existing_cells, tagged_maps
from medwsss.networks.resampling import resample
from medwsss.terms.activation_maps import max_normalize
from medwsss.terms.feature_similarity import FeatureSimilarity

__all__ = ["FeatureSimilarityLoss"]

GATES = ("r", "b", "a", "s")


class FeatureSimilarityLoss(nn.Module):
    """``−(1/|Ω|) Σ_ij w_ij ½‖g_i − g_j‖² f(δ_ij)``, Eq. (9), over the tags that are present; mean over the batch.

    Alike cells get one activation, cells of different colours different ones. It is a quadratic Potts term on the
    window of :class:`~medwsss.terms.feature_similarity.FeatureSimilarity`, with weights of both signs: value and
    gradient come in one pass over the window, and no pair is kept in memory.

    Args:
        mu: ``μ``, 2.5 in the paper: colours that differ by less than ``1 / (1 + e^μ)`` = 0.076 are alike.
        sigma: ``σ``, 5 in the paper for maps of 56², in cells of the gate.
        gate: ``g``: ``"r"`` the max-normalised map (the paper's choice), ``"b"`` its sigmoid, ``"a"`` the softmax over
            tags and background, ``"s"`` the scores themselves, with which training diverges, Eq. (19).
        floor: of ``"r"``, see :func:`~medwsss.terms.activation_maps.max_normalize`.
        through_max: of ``"r"``, see there.
        background: add ``1 − max_c r_c`` to the gate's channels, as the published code does with ``"r"``.
        radius: of the window; default: ``3σ``.
        size: of the gate along each axis; a map that is smaller is interpolated to it. Default: the map's own.
        spacing: of the gate's cells.

    Shape:
        - input: ``B C *s`` score maps, or ``B 1+C *s`` with a background first.
        - target: a mapping with ``tags`` (``B C``; unknown ones do not count) and ``guide`` (``B C *S`` in [0, 1], on a
          grid that is as fine or finer: it is averaged over cells), and ``scribble`` where images are padded.
        - output: scalar.

    Raises:
        ValueError: for an unknown gate, a guide outside [0, 1], and a softmax without a background.

    Example:
        >>> target = {"tags": torch.ones(1, 1), "guide": torch.tensor([[[[0.0, 1.0]]]])}
        >>> scores = torch.tensor([[[[0.0, 1.0]]]])
        >>> round(FeatureSimilarityLoss()(scores, target).item(), 12)  # −w/2, w = e^(−0.02) / 50π
        -0.003120069392

    Source: Jonnarth et al., WACV 2024, Eq. (9) to (13), (19) to (23).
    """

    def __init__(
        self,
        mu: float = 2.5,
        sigma: float = 5.0,
        gate: str = "r",
        floor: str = "max",
        through_max: bool = True,
        background: bool = False,
        radius: float | None = None,
        size: Sequence[int] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"expected gate in {list(GATES)}, got {gate!r}")
        if background and gate != "r":
            raise ValueError(f"expected gate 'r' for 1 − max r as a background, got {gate!r}")
        self.neighborhood = FeatureSimilarity(mu, sigma, radius, spacing)
        self.gate, self.floor, self.through_max, self.background, self.size = gate, floor, through_max, background, size

    @without_autocast
    def forward(self, input: Tensor, target: Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        if self.size is not None and tuple(self.size) != tuple(input.shape[2:]):
            input = resample(input, list(self.size), align_corners=False)  # noqa: A001
        maps = tagged_maps(input, target)
        gate, sample = self._gate(maps)
        guide = target[GUIDE].to(gate.dtype)
        if guide.numel() and not (guide.amin() >= 0 and guide.amax() <= 1):
            low, high = guide.aminmax()
            raise ValueError(f"expected a guide in [0, 1], got {low:g} to {high:g}")
        guide = F.interpolate(guide, size=gate.shape[2:], mode="area") if guide.shape[2:] != gate.shape[2:] else guide
        exists = existing_cells(target, gate.shape[2:])
        energies = self.neighborhood.energy(gate, sample, guide, exists)
        return energies.sum() / len(maps.tags)

    def _gate(self, maps: TaggedMaps) -> tuple[Tensor, Tensor]:
        """``g`` of the tags that are there alone, ``M 1 *s``, and which sample each is of."""
        sample, channel = (maps.tags == 1).nonzero(as_tuple=True)
        if self.gate == "a":
            if maps.all_scores.shape == maps.scores.shape:
                raise ValueError("expected a channel of the background before the tags for gate 'a', got none")
            return maps.all_scores.softmax(1)[sample, channel + 1].unsqueeze(1), sample
        gate = maps.scores[sample, channel].unsqueeze(1)
        if self.gate == "b":
            return gate.sigmoid(), sample
        if self.gate == "s":
            return gate, sample
        exists = None if maps.exists is None else maps.exists[sample]
        gate = max_normalize(gate, exists, self.floor, self.through_max)
        if not self.background:
            return gate, sample
        # the largest of each sample's; where none is shown, there is no background either
        largest = torch.stack([gate[sample == each].amax(0) for each in sample.unique()]) if len(sample) else gate
        return torch.cat((gate, 1 - largest)), torch.cat((sample, sample.unique()))
