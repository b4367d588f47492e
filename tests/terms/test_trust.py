# SPDX-License-Identifier: Apache-2.0
"""Whose opinion counts: segments against a flood fill, and the energy that leaves the others out."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.trust import seeded_segments


def flooded(logits, scribble):
    """By hand: from each seed to all neighbours, face to face, that the network gives the seed's class."""
    classes, marks = logits.argmax(0), scribble[0]
    found = torch.zeros(marks.shape, dtype=torch.bool)
    for start in product(*map(range, marks.shape)):
        k = marks[start].item()
        if k in (UNLABELED, VOID):
            continue
        todo = [start]
        while todo:
            at = todo.pop()
            if found[at] or marks[at] == VOID:
                continue
            if marks[at] != k and (marks[at] != UNLABELED or classes[at] != k):
                continue
            found[at] = True
            for axis, step in product(range(len(at)), (-1, 1)):
                there = list(at)
                there[axis] += step
                if 0 <= there[axis] < marks.shape[axis]:
                    todo.append(tuple(there))
    return found


@pytest.mark.parametrize("shape", [(40,), (12, 9), (6, 5, 7)])
def test_segments_equal_a_flood_fill(shape):
    generator = torch.Generator().manual_seed(len(shape))
    logits = torch.randn(3, 4, *shape, generator=generator)
    values = torch.tensor([0, 1, 2, 3, VOID] + [UNLABELED] * 25)
    scribble = values[torch.randint(len(values), (3, 1, *shape), generator=generator)]
    found = seeded_segments(logits, scribble)
    assert torch.equal(found[:, 0], torch.stack([flooded(*sample) for sample in zip(logits, scribble)]))
    assert 0 < found.float().mean() < 1


def test_an_invented_structure_says_nothing():
    """A network that is sure of a class where nobody drew it: the minimum is that of a network unsure there."""
    logits = torch.zeros(1, 2, 12)
    logits[:, 0], logits[:, 0, 8:10], logits[:, 1, 8:10] = 9, 0, 9
    scribble = torch.full((1, 1, 12), UNLABELED)
    scribble[..., 1], scribble[..., 11] = 0, 0
    guide = torch.zeros(1, 1, 12)
    labels = {}
    for trust in ("everywhere", "seeded"):
        energy = SelfLabelingEnergy(neighborhood=GridNeighborhood(bandwidth=1.0), eta=6.0, lam=1.0, trust=trust)
        labels[trust] = NaturalGradient(energy, 200, levels=0)(logits, guide, scribble).labels.argmax(1)[0].tolist()
    assert labels == {"everywhere": [0] * 8 + [1, 1, 0, 0], "seeded": [0] * 12}


def test_unsupported_opinions_are_uniform_in_the_energy():
    generator = torch.Generator().manual_seed(5)
    logits, guide = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 1, 8, 8, generator=generator)
    scribble = torch.full((2, 1, 8, 8), UNLABELED)
    scribble[0, 0, 2, 2], scribble[1, 0, 5, :] = 1, 2
    y = torch.randn(2, 3, 8, 8, generator=generator).softmax(1)
    hushed = logits * seeded_segments(logits, scribble)
    values = [
        SelfLabelingEnergy(trust=trust).bind(given, guide, scribble).value(y)
        for trust, given in (("seeded", logits), ("everywhere", hushed), ("everywhere", logits))
    ]
    assert torch.equal(values[0], values[1]) and (values[0] != values[2]).all()


def test_an_unknown_trust_is_refused():
    with pytest.raises(ValueError, match="expected trust in .*got 'blind'"):
        SelfLabelingEnergy(trust="blind")
