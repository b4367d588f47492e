# SPDX-License-Identifier: Apache-2.0
"""The compiled steps against the plain one, which test_natural_gradient.py holds against the world.

Without a GPU, Triton's runs in its own interpreter, on the CPU.
"""

from __future__ import annotations

import os
import sys

import pytest
import torch
from torch import Tensor

from medwsss.keys import VOID
from medwsss.solvers import NaturalGradient, backend
from medwsss.solvers.backend import choose, on_cuda
from medwsss.solvers.compiled.fused import SIMILARITIES, UNARIES, FusedStep
from medwsss.solvers.compiled.numba_step import NumbaStep
from medwsss.solvers.mirror_step import PlainStep
from medwsss.terms import BoundEnergy, GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS
from tests.solvers.test_natural_gradient import COMBINATIONS, smooth_inputs

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read where Triton is imported
try:
    from medwsss.solvers.compiled import triton_step
except ImportError:
    triton_step = None
needs_triton = pytest.mark.skipif(triton_step is None, reason="expected Triton, which is not installed here")
DEVICES = {"Numba": "cpu", "Triton": "cuda" if torch.cuda.is_available() else "cpu"}
STEPS = ["Numba", pytest.param("Triton", marks=needs_triton)]

# what the compiled step knows; all else is the reference's, see test_extension.py
COMPILED = [name for name, term in CROSS_ENTROPIES.items() if term in UNARIES]
TERMS = [(h, p) for h, p in COMBINATIONS if h in COMPILED and RELAXATIONS[p].similarity in SIMILARITIES]


def test_the_papers_terms_are_compiled() -> None:
    assert len(TERMS) >= 4 * 6


def fused(kind: str) -> type[FusedStep]:
    return NumbaStep if kind == "Numba" else triton_step.TritonStep


def problem_and_labels(
    size: tuple[int, ...], cross_entropy: str, relaxation: str, device: str = "cpu"
) -> tuple[BoundEnergy, Tensor, Tensor, Tensor]:
    logits, guide, scribble = smooth_inputs(batch=2, num_classes=5, size=size)
    scribble[..., :3] = VOID
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(3, bandwidth=60.0))
    problem = energy.bind(*(x.to(device) for x in (logits.float(), guide, scribble)))
    generator = torch.Generator().manual_seed(1)
    now, before = ((4 * torch.randn(logits.shape, generator=generator)).softmax(1).to(device) for _ in range(2))
    return problem, problem.reset(now), problem.reset(before), torch.tensor([3.0, 0.5], device=device)


# 1500 and 35 · 33 voxels are two blocks of 1024, the last one not full.
@pytest.mark.parametrize("size", [(1500,), (35, 33), (5, 19, 13), (1, 4, 1), (1, 1, 1)])
@pytest.mark.parametrize("cross_entropy, relaxation", TERMS)
@pytest.mark.parametrize("kind", STEPS)
def test_one_look_agrees(kind: str, size: tuple[int, ...], cross_entropy: str, relaxation: str) -> None:
    problem, *arguments = problem_and_labels(size, cross_entropy, relaxation, DEVICES[kind])
    step, labels = fused(kind)(problem), torch.full_like(arguments[0], torch.nan)  # all of it has to be written
    energy = step.sweep(*arguments, 0.6, labels)
    expected_energy, expected = PlainStep(problem)(*arguments, 0.6)
    torch.testing.assert_close(energy, expected_energy, rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(step.energy(arguments[0], arguments[2]), energy, rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(labels, expected, rtol=0, atol=1e-5)
    # Also where a class is nearly gone. LQ's 1 − ½‖p − q‖² is a small difference of numbers near 1 for sharp labels.
    tolerance = 1e-2 if relaxation == "log_quadratic" else 1e-4
    assert ((labels / expected - 1).abs()[expected > 0] < tolerance).all()


@pytest.mark.parametrize("kind", STEPS)
def test_a_sample_that_is_done_is_left_out(kind: str) -> None:
    problem, y, previous, stride = problem_and_labels((35, 33), "quadratic", "log_quadratic", DEVICES[kind])
    step = fused(kind)(problem)
    whole, labels = step(y, previous, stride, 0.6)
    part, rest = fused(kind)(problem)(y, previous, stride * stride.new_tensor([0, 1]), 0.6)
    assert part[0] == 0 and part[1] == whole[1]
    torch.testing.assert_close(rest[1], labels[1], rtol=0, atol=0)


@pytest.mark.parametrize("cross_entropy", COMPILED)
@pytest.mark.parametrize("kind", STEPS)
def test_one_look_agrees_where_the_network_is_certain(kind: str, cross_entropy: str) -> None:
    logits, guide, scribble = smooth_inputs(
        batch=2, num_classes=5, size=(35, 33), scale=300
    )  # σ is 0 or 1 nearly always
    logits, guide, scribble = (x.to(DEVICES[kind]) for x in (logits.float(), guide, scribble))
    problem = SelfLabelingEnergy(cross_entropy, "quadratic").bind(logits, guide, scribble)
    y, stride = problem.reset((logits / 100).softmax(1)), logits.new_tensor([3.0, 0.5])
    energy, labels = fused(kind)(problem)(y, y, stride, 0.6)
    expected_energy, expected = PlainStep(problem)(y, y, stride, 0.6)
    torch.testing.assert_close(energy, expected_energy, rtol=2e-6, atol=0)
    torch.testing.assert_close(labels, expected, rtol=0, atol=1e-5)


def test_threads_change_nothing() -> None:
    problem, *arguments = problem_and_labels((70, 71), "collision_cross_entropy", "collision_divergence")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = NumbaStep(problem)(*arguments, 0.6)
        torch.set_num_threads(3)
        three = NumbaStep(problem)(*arguments, 0.6)
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
    assert choose(single).step is NumbaStep
    compiled = NaturalGradient(energy, max_steps=10, tolerance=0)(logits.float(), guide, scribble)
    monkeypatch.setitem(sys.modules, "medwsss.solvers.compiled.numba_step", None)  # as if Numba were not installed
    assert choose(single).step is PlainStep
    plain = NaturalGradient(energy, max_steps=10, tolerance=0)(logits.float(), guide, scribble)
    torch.testing.assert_close(compiled.labels, plain.labels, rtol=0, atol=1e-4)


@needs_triton
@pytest.mark.parametrize("frozen", [False, True])
def test_a_solve_by_triton_has_the_labels_of_one_in_pytorch(monkeypatch: pytest.MonkeyPatch, frozen: bool) -> None:
    """Coarser grids included; labels that are known in advance stay, as those of the reference do."""
    logits, guide, scribble = (x.to(DEVICES["Triton"]) for x in smooth_inputs(size=(14, 15)))
    known = logits.float().softmax(1) * (torch.arange(15, device=logits.device) < 3) if frozen else None
    solver, found = NaturalGradient(SelfLabelingEnergy(), max_steps=10, tolerance=0), []
    for choice in (on_cuda, lambda problem: backend.reference("for the comparison")):
        monkeypatch.setattr("medwsss.solvers.natural_gradient.choose", choice)
        found.append(solver(logits.float(), guide, scribble, frozen=known))
    assert found[0].backend == "Triton"
    torch.testing.assert_close(found[0].labels, found[1].labels, rtol=0, atol=1e-4)
    torch.testing.assert_close(found[0].energy, found[1].energy, rtol=1e-5, atol=0)


@needs_triton
def test_plain_where_triton_cannot_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    logits, guide, scribble = smooth_inputs()
    problem = SelfLabelingEnergy().bind(logits.float(), guide, scribble)

    def fails(*arguments: object) -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify one.")

    monkeypatch.setattr(triton_step.TritonStep, "sweep", fails)
    triton_step.unusable.cache_clear()
    backend.without.cache_clear()
    chosen = [on_cuda(problem) for _ in range(2)][0]
    triton_step.unusable.cache_clear()
    assert chosen.step is PlainStep
    (told,) = caplog.messages
    assert "PyTorch alone" in told and told.endswith("Failed to find C compiler.")
    assert chosen.name == "PyTorch (the compiled step does not run: RuntimeError: Failed to find C compiler.)"
    monkeypatch.setitem(sys.modules, "medwsss.solvers.compiled.triton_step", None)
    assert on_cuda(problem).step is PlainStep
