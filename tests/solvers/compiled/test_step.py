# SPDX-License-Identifier: Apache-2.0
"""The compiled step against the plain one, which test_natural_gradient.py holds against the world."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from medwsss.keys import VOID
from medwsss.solvers import NaturalGradient
from medwsss.solvers.backend import choose
from medwsss.solvers.compiled.step import SIMILARITIES, UNARIES, FusedStep
from medwsss.solvers.mirror_step import PlainStep
from medwsss.terms import BoundEnergy, GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS
from tests.solvers.test_natural_gradient import COMBINATIONS, smooth_inputs

# what the compiled step knows; all else is the reference's, see test_extension.py
COMPILED = [name for name, term in CROSS_ENTROPIES.items() if term in UNARIES]
TERMS = [(h, p) for h, p in COMBINATIONS if h in COMPILED and RELAXATIONS[p].similarity in SIMILARITIES]


def test_the_papers_terms_are_compiled() -> None:
    assert len(TERMS) >= 4 * 6


def problem_and_labels(
    size: tuple[int, ...], cross_entropy: str, relaxation: str
) -> tuple[BoundEnergy, Tensor, Tensor, Tensor]:
    logits, guide, scribble = smooth_inputs(batch=2, num_classes=5, size=size)
    scribble[..., :3] = VOID
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(3, bandwidth=60.0))
    problem = energy.bind(logits.float(), guide, scribble)
    generator = torch.Generator().manual_seed(1)
    now, before = ((4 * torch.randn(logits.shape, generator=generator)).softmax(1) for _ in range(2))
    return problem, problem.reset(now), problem.reset(before), torch.tensor([3.0, 0.5])


# 1500 and 35 · 33 voxels are two blocks of 1024, the last one not full.
@pytest.mark.parametrize("size", [(1500,), (35, 33), (5, 19, 13), (1, 4, 1), (1, 1, 1)])
@pytest.mark.parametrize("cross_entropy, relaxation", TERMS)
def test_one_look_agrees(size: tuple[int, ...], cross_entropy: str, relaxation: str) -> None:
    problem, *arguments = problem_and_labels(size, cross_entropy, relaxation)
    energy, labels = FusedStep(problem)(*arguments, 0.6)
    expected_energy, expected = PlainStep(problem)(*arguments, 0.6)
    torch.testing.assert_close(energy, expected_energy, rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(FusedStep(problem).energy(arguments[0], arguments[2]), energy, rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(labels, expected, rtol=0, atol=1e-5)
    # Also where a class is nearly gone. LQ's 1 − ½‖p − q‖² is a small difference of numbers near 1 for sharp labels.
    tolerance = 1e-2 if relaxation == "log_quadratic" else 1e-4
    assert ((labels / expected - 1).abs()[expected > 0] < tolerance).all()


@pytest.mark.parametrize("cross_entropy", COMPILED)
def test_one_look_agrees_where_the_network_is_certain(cross_entropy: str) -> None:
    logits, guide, scribble = smooth_inputs(
        batch=2, num_classes=5, size=(35, 33), scale=300
    )  # σ is 0 or 1 nearly always
    problem = SelfLabelingEnergy(cross_entropy, "quadratic").bind(logits.float(), guide, scribble)
    y = problem.reset((logits.float() / 100).softmax(1))
    energy, labels = FusedStep(problem)(y, y, torch.tensor([3.0, 0.5]), 0.6)
    expected_energy, expected = PlainStep(problem)(y, y, torch.tensor([3.0, 0.5]), 0.6)
    torch.testing.assert_close(energy, expected_energy, rtol=2e-6, atol=0)
    torch.testing.assert_close(labels, expected, rtol=0, atol=1e-5)


def test_threads_change_nothing() -> None:
    problem, *arguments = problem_and_labels((70, 71), "collision_cross_entropy", "collision_divergence")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = FusedStep(problem)(*arguments, 0.6)
        torch.set_num_threads(3)
        three = FusedStep(problem)(*arguments, 0.6)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(one, three, rtol=0, atol=0)


def test_any_memory_layout() -> None:
    logits, guide, scribble = (x.float() if x.is_floating_point() else x for x in smooth_inputs(size=(14, 15)))
    solver = NaturalGradient(SelfLabelingEnergy())
    strided = solver(*(x.contiguous(memory_format=torch.channels_last) for x in (logits, guide, scribble)))
    torch.testing.assert_close(strided.labels, solver(logits, guide, scribble).labels)


def test_plain_where_the_compiled_step_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, guide, scribble = smooth_inputs()
    energy = SelfLabelingEnergy()
    assert choose(energy.bind(logits, guide, scribble)).step is PlainStep  # float64
    single = energy.bind(logits.float(), guide, scribble)
    assert choose(single).step is FusedStep
    compiled = NaturalGradient(energy, max_steps=10, tolerance=0)(logits.float(), guide, scribble)
    monkeypatch.setitem(sys.modules, "medwsss.solvers.compiled.step", None)  # as if Numba were not installed
    assert choose(single).step is PlainStep
    plain = NaturalGradient(energy, max_steps=10, tolerance=0)(logits.float(), guide, scribble)
    torch.testing.assert_close(compiled.labels, plain.labels, rtol=0, atol=1e-4)
