# SPDX-License-Identifier: Apache-2.0
"""Hard labels: all of the largest class of another solver's, seeds and void as ever."""

from __future__ import annotations

import torch

from medwsss.keys import VOID
from medwsss.solvers import HardLabels, NaturalGradient, StridedSolver, with_spacing
from medwsss.terms import DenseNeighborhood, SelfLabelingEnergy
from tests.terms.problems import batch_of


def test_all_of_the_largest_class(shape) -> None:
    logits, guide, scribble = batch_of(2, 3, shape)
    solver = NaturalGradient(SelfLabelingEnergy())
    soft, hard = solver(logits, guide, scribble), HardLabels(solver)(logits, guide, scribble)
    void = (scribble == VOID).expand_as(hard.labels)
    assert torch.equal(hard.labels[void], soft.labels[void])
    where = ~void[:, 0]
    assert torch.equal(hard.labels.argmax(1)[where], soft.labels.argmax(1)[where])
    assert torch.equal(hard.labels.amax(1)[where], torch.ones_like(hard.labels.amax(1)[where]))
    assert torch.equal(hard.energy, soft.energy)


def test_spacing_reaches_what_is_inside() -> None:
    energy = SelfLabelingEnergy(relaxation="bilinear", neighborhood=DenseNeighborhood(3.0, 1.0))
    solver = HardLabels(StridedSolver(NaturalGradient(energy), 2))
    spaced = with_spacing(solver, [1, 1, 5])
    assert spaced.energy.neighborhood.spacing == (1, 1, 5) and spaced.solver.stride == 2
    assert spaced.solver.solver.energy is spaced.energy and solver.energy.neighborhood.spacing is None
