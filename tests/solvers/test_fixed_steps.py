# SPDX-License-Identifier: Apache-2.0
"""NaturalGradient without its safeguard: blocks of an image have the labels of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medwsss.solvers import NaturalGradient, Status
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy, WindowNeighborhood
from medwsss.terms.neighborhoods import OffsetNeighborhood
from tests.solvers.test_natural_gradient import smooth_inputs

#: The compiled step is exact; PyTorch's own sums and interpolation round by where in memory a voxel lies.
ROUNDING = {torch.float32: 0, torch.float64: 1e-13}
FIXED: dict[str, Any] = {"tolerance": 0, "safeguard": False}


def fixed(neighborhood: OffsetNeighborhood, relaxation: str = "collision_divergence", **how: Any) -> NaturalGradient:
    return NaturalGradient(SelfLabelingEnergy(relaxation=relaxation, neighborhood=neighborhood), **FIXED, **how)


def difference(
    solver: NaturalGradient, dtype: torch.dtype, size: tuple[int, ...], core: list[tuple[int, int]], margin: int
) -> float:
    """The greatest difference between a core's labels in the whole and in a block with a margin around it."""
    logits, guide, scribble = smooth_inputs(num_classes=5, size=size)
    inputs = logits.to(dtype), guide, scribble
    starts = [max(0, low - margin) for low, _ in core]
    block = (..., *(slice(start, high + margin) for start, (_, high) in zip(starts, core)))
    within = (..., *(slice(low - start, high - start) for start, (low, high) in zip(starts, core)))
    whole = solver(*inputs).labels[(..., *(slice(*ends) for ends in core))]
    return float((solver(*(x[block] for x in inputs)).labels[within] - whole).abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the compiled and the plain step
@pytest.mark.parametrize("relaxation", ["collision_divergence", "log_quadratic", "normalized_quadratic"])
@pytest.mark.parametrize(
    "size, core",
    [
        ((90,), [(40, 43)]),
        ((58, 61), [(22, 27), (0, 31)]),
        ((58, 61), [(50, 58), (40, 61)]),  # where memory ends
        ((23, 19, 21), [(9, 11), (8, 10), (10, 12)]),
    ],
)
def test_a_block_has_the_labels_of_the_whole(
    dtype: torch.dtype, relaxation: str, size: tuple[int, ...], core: list[tuple[int, int]]
) -> None:
    solver = fixed(GridNeighborhood(3, bandwidth=9.0, smoothing=0.5), relaxation, levels=0, max_steps=5)
    (margin,) = set(solver.reach(size))
    assert margin == 5 + 2  # steps, and the smoothed guide
    assert difference(solver, dtype, size, core, margin) <= ROUNDING[dtype]
    assert difference(solver, dtype, size, core, margin - 3) > 0  # without the smoothed guide and one step


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels, margin", [(1, 14), (2, 34)])
def test_also_from_coarser_grids(dtype: torch.dtype, levels: int, margin: int) -> None:
    solver = fixed(GridNeighborhood(2, bandwidth=9.0), levels=levels, max_steps=4, coarse_steps=4)
    size = (120, 131)
    # 4 steps and two voxels for each of 4 + 1 cells; on two levels for each of 4 + 2 (4 + 1) + 1.
    assert solver.reach(size) == (margin, margin)
    aligned = -(-margin // 2**levels) * 2**levels
    assert difference(solver, dtype, size, [(44, 52), (48, 60)], aligned) <= ROUNDING[dtype]
    assert difference(solver, dtype, size, [(44, 52), (48, 60)], 8) > 1e-6


def test_reach_knows_spacing_windows_and_short_axes() -> None:
    thick = fixed(GridNeighborhood(bandwidth=9.0, spacing=(5.0, 1.0, 1.0), smoothing=1.0), levels=2, max_steps=3)
    # A slice is 5 of a voxel's sides long and neither of two levels merges slices: 3 + 6 + 6 of them, 1 of the guide.
    # In the plane 2 (2 (6 + 1) + 6 + 1) + 3 and 4 of the guide.
    assert thick.reach((9, 64, 64)) == (16, 49, 49)
    assert fixed(GridNeighborhood(bandwidth=9.0), levels=3, max_steps=3).reach((3, 2)) == (3, 3)  # nothing to halve
    # 3 steps of 2 voxels; cells of 2 are neighbours of the next one only.
    assert fixed(WindowNeighborhood(2.5, bandwidth=9.0), levels=1, max_steps=3).reach((40, 40)) == (6 + 14, 6 + 14)


def test_all_steps_are_taken_and_the_first_are_those_with_a_safeguard() -> None:
    inputs = smooth_inputs(batch=2)
    energy = SelfLabelingEnergy()
    guarded = NaturalGradient(energy, tolerance=0, max_steps=6, stride=0.5, levels=0)(
        *inputs
    )  # nothing to guard against
    free = NaturalGradient(energy, max_steps=6, stride=0.5, levels=0, **FIXED)(*inputs)
    assert guarded.energy.diff(dim=0).max() < 0
    assert torch.equal(free.labels, guarded.labels) and torch.equal(free.energy, guarded.energy)
    assert free.status is Status.STEPS_DONE
    wild = NaturalGradient(energy, max_steps=30, levels=0, stride=50.0, **FIXED)(*inputs)
    assert wild.steps == 30 and wild.energy.diff(dim=0).max() > 0  # as announced
    torch.testing.assert_close(energy.bind(*inputs).value(wild.labels), wild.energy[-1])


def test_errors() -> None:
    with pytest.raises(ValueError, match="tolerance=0 without the safeguard"):
        NaturalGradient(SelfLabelingEnergy(), safeguard=False)
    with pytest.raises(ValueError, match="safeguard=False"):
        NaturalGradient(SelfLabelingEnergy(neighborhood=GridNeighborhood(bandwidth=9.0))).reach((8, 8))
    with pytest.raises(ValueError, match='"auto"'):
        fixed(GridNeighborhood()).reach((8, 8))
