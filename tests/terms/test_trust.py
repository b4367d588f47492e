# SPDX-License-Identifier: Apache-2.0
"""Whose opinion counts: segments against a flood fill, and the energy that leaves the others out."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.trust import seeded_segments


def segments_by_hand(logits, scribble):
    """Segments by flooding from every voxel, and their seeds counted one by one."""
    classes, marks = logits.argmax(0), scribble[0]
    found, seen = torch.zeros(marks.shape, dtype=torch.bool), set()
    totals = Counter(marks.flatten().tolist())
    for start in product(*map(range, marks.shape)):
        segment, todo = set(), [start]
        while todo:
            at = todo.pop()
            if at in seen or marks[at] == VOID or classes[at] != classes[start]:
                continue
            seen.add(at)
            segment.add(at)
            for axis, step in product(range(len(at)), (-1, 1)):
                there = at[:axis] + (at[axis] + step,) + at[axis + 1 :]
                if 0 <= there[axis] < marks.shape[axis]:
                    todo.append(there)
        seeds = Counter(marks[at].item() for at in segment if marks[at] != UNLABELED)
        own = seeds.pop(classes[start].item(), 0)
        if own and all(2 * number < totals[k] for k, number in seeds.items()):
            for at in segment:
                found[at] = True
    return found


@pytest.mark.parametrize("shape", [(40,), (12, 9), (6, 5, 7)])
def test_segments_equal_those_found_by_hand(shape):
    generator = torch.Generator().manual_seed(len(shape))
    logits = torch.randn(3, 4, *shape, generator=generator)
    values = torch.tensor([0, 1, 2, 3, VOID] + [UNLABELED] * 10)
    scribble = values[torch.randint(len(values), (3, 1, *shape), generator=generator)]
    found = seeded_segments(logits, scribble)
    assert torch.equal(found[:, 0], torch.stack([segments_by_hand(*sample) for sample in zip(logits, scribble)]))
    assert 0 < found.float().mean() < 1


def test_a_network_that_knows_one_class_is_not_believed_about_it():
    logits = torch.tensor([3.0, 0, 0]).reshape(1, 3, 1).expand(1, 3, 10)
    scribble = torch.full((1, 1, 10), UNLABELED)
    scribble[..., :6] = 0
    assert seeded_segments(logits, scribble).all()
    scribble[..., 9] = 2  # all that is known of class 2
    assert not seeded_segments(logits, scribble).any()


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
