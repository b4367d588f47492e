# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch

from medwsss.terms.neighborhoods import GridNeighborhood, pairs


@pytest.mark.parametrize(
    ("connectivity", "counts"), [(1, (1, 2, 3)), (2, (1, 4, 9)), (3, (1, 4, 13))], ids=["faces", "edges", "corners"]
)
def test_half_neighborhoods_hold_each_unordered_pair_once(connectivity: int, counts: tuple[int, ...]) -> None:
    for ndim, count in enumerate(counts, start=1):
        offsets = GridNeighborhood(connectivity).offsets(ndim)
        both = offsets + [tuple(-o for o in offset) for offset in offsets]
        assert len(offsets) == count
        assert len(set(both)) == 2 * count  # 6, 18 and 26 neighbours in 3-D, for instance


def brute_force(guide: torch.Tensor, connectivity: int, beta: float, spacing: tuple[float, ...]) -> dict:
    """``w_ij`` of one sample ``C *S`` for every unordered pair of voxels, by their coordinates."""
    voxels = list(itertools.product(*map(range, guide.shape[1:])))
    weights = {}
    for i, j in itertools.combinations(voxels, 2):
        step = [b - a for a, b in zip(i, j)]
        if max(map(abs, step)) == 1 and sum(map(abs, step)) <= connectivity:
            contrast = sum((guide[(c, *i)] - guide[(c, *j)]).item() ** 2 for c in range(len(guide)))
            distance = math.sqrt(sum((a * s) ** 2 for a, s in zip(step, spacing))) / min(spacing)
            weights[frozenset((i, j))] = math.exp(-contrast / (2 * beta**2)) / distance
    return weights


@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_weights_equal_brute_force_over_pairs(connectivity: int, shape: tuple[int, ...]) -> None:
    guide = torch.rand(2, 3, *shape, dtype=torch.float64)
    spacing = (1.5, 1.0, 5.0)[: len(shape)]
    n = GridNeighborhood(connectivity, bandwidth=0.4, spacing=spacing)
    index = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"))[None]
    for b in range(2):
        found = {}
        for offset, w in zip(n.offsets(len(shape)), n.weights(guide)):
            ends = [x[0].flatten(1).T.tolist() for x in pairs(index, offset)]
            assert w.shape[:2] == (2, 1)
            for i, j, value in zip(*ends, w[b].flatten().tolist()):
                found[frozenset((tuple(i), tuple(j)))] = value
        assert found == pytest.approx(brute_force(guide[b], connectivity, 0.4, spacing))


def test_automatic_bandwidth_is_each_samples_own_mean_contrast(shape: tuple[int, ...]) -> None:
    guide = torch.rand(2, 1, *shape, dtype=torch.float64) * torch.tensor([1.0, 100.0]).reshape(
        2, *[1] * (1 + len(shape))
    )
    weights = GridNeighborhood(1, "auto").weights(guide)
    for b in range(2):
        squares = torch.cat(
            [
                (y - x).flatten() ** 2
                for x, y in (pairs(guide[b : b + 1], o) for o in GridNeighborhood().offsets(len(shape)))
            ]
        )
        own = GridNeighborhood(1, bandwidth=squares.mean().sqrt().item()).weights(guide[b : b + 1])
        for w, expected in zip(weights, own):
            torch.testing.assert_close(w[b : b + 1], expected)


def test_pairs_that_touch_nothing_weigh_nothing_and_do_not_count_for_the_bandwidth() -> None:
    guide = torch.tensor([0.0, 1.0, 2.0, 99.0]).reshape(1, 1, 4)
    exists = torch.tensor([True, True, True, False]).reshape(1, 1, 4)
    (w,) = GridNeighborhood(1, "auto").weights(guide, exists)
    expected = math.exp(-1 / 2)  # β² = 1, the mean of the two existing pairs
    assert w.flatten().tolist() == pytest.approx([expected, expected, 0])


def test_a_flat_image_weighs_every_pair_alike() -> None:
    for bandwidth in ("auto", 0.1):
        assert all((w == 1).all() for w in GridNeighborhood(1, bandwidth).weights(torch.ones(1, 1, 3, 3)))


def test_integer_guides_are_measured_in_their_own_units() -> None:
    guide = torch.tensor([0, 9, 255], dtype=torch.uint8).reshape(1, 1, 3)
    (w,) = GridNeighborhood(1, bandwidth=9).weights(guide)
    assert w.flatten().tolist() == pytest.approx([math.exp(-0.5), 0], rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.5, 0.8])
def test_smoothing_equals_a_brute_force_mean_over_voxels_that_exist(smoothing: float, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    guide = torch.rand(1, 2, *shape, dtype=torch.float64, generator=generator)
    exists = torch.rand(1, 1, *shape, generator=generator) < 0.8
    spacing = (1.5, 1.0, 5.0)[: len(shape)]
    smooth = GridNeighborhood(spacing=spacing, smoothing=smoothing).smoothed(guide, exists)

    def share(offset: Sequence[int]) -> float:
        """Of a Gaussian at the origin in the voxel at this offset."""
        deviations = [math.sqrt(2) * smoothing * min(spacing) / s for s in spacing]
        return math.prod(
            (math.erf((o + 0.5) / d) - math.erf((o - 0.5) / d)) / 2 for o, d in zip(offset, deviations, strict=True)
        )

    voxels = list(itertools.product(*map(range, shape)))
    for i in voxels:
        among = {j: share([b - a for a, b in zip(i, j)]) for j in voxels if exists[(0, 0, *j)]}
        for channel in range(2) if exists[(0, 0, *i)] else ():
            mean = sum(w * guide[(0, channel, *j)].item() for j, w in among.items()) / sum(among.values())
            # cut off at 4 deviations
            assert smooth[(0, channel, *i)].item() == pytest.approx(mean, abs=1e-3)


def test_smoothing_takes_nothing_in_from_outside_the_image() -> None:
    guide = torch.full((1, 1, 6, 6), 0.7)
    exists = torch.ones_like(guide, dtype=torch.bool)
    guide[..., 4:], exists[..., 4:] = 99.0, False
    inside = GridNeighborhood(1, 0.01, smoothing=0.5).weights(guide, exists)
    expected = GridNeighborhood(1, 0.01).weights(guide, exists)
    for w, plain in zip(inside, expected):
        torch.testing.assert_close(w, plain)


def test_smoothing_lets_labels_pass_a_noisy_voxel() -> None:
    guide = torch.zeros(1, 1, 5, 5)
    guide[..., 2, 2] = 1.0
    plain, smooth = (GridNeighborhood(1, 0.3, smoothing=s).weights(guide) for s in (0.0, 0.5))
    assert all(a[a < 0.5].min() < 0.01 < 0.3 < b.min() for a, b in zip(plain, smooth))


@pytest.mark.parametrize(
    "arguments",
    [
        {"smoothing": -0.1},
        {"smoothing": math.inf},
        {"smoothing": math.nan},
        {"connectivity": 0},
        {"bandwidth": 0},
        {"bandwidth": -1.0},
        {"bandwidth": "wide"},
        {"spacing": (1.0, 0.0)},
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        GridNeighborhood(**arguments)


def test_spacing_must_fit_the_guide() -> None:
    with pytest.raises(ValueError, match="3 axes"):
        GridNeighborhood(spacing=(1, 1)).weights(torch.zeros(1, 1, 2, 2, 2))
