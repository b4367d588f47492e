# SPDX-License-Identifier: Apache-2.0
"""When pseudo-labels come, what they are, and what is told of them."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from torch import nn

from medwsss.handlers import NonFiniteGuard, PseudoLabelHandler
from medwsss.keys import GUIDE, PSEUDO_LABEL, SCRIBBLE
from medwsss.losses import SelfLabelingLoss
from medwsss.solvers import GradientDescent, NaturalGradient
from medwsss.terms import SelfLabelingEnergy
from tests.test_engines import trainer

ENERGY = SelfLabelingEnergy(lam=1.0)


def run(handler, epochs=4, **options):
    """Train, and the epochs whose every batch had pseudo-labels; half an epoch would be a failure."""
    engine = trainer(handlers=[handler], **options)
    engine.state.max_epochs = epochs
    seen: list[tuple[int, bool]] = []

    @engine.on(IterationEvents.LOSS_COMPLETED)
    def look(engine):
        seen.append((engine.state.epoch, PSEUDO_LABEL in engine.state.output["label"]))

    engine.run()
    with_labels = {epoch for epoch, labelled in seen if labelled}
    assert not with_labels & {epoch for epoch, labelled in seen if not labelled}
    return engine, sorted(with_labels)


@pytest.mark.parametrize("warmup, epochs", [(0, [1, 2, 3, 4]), (2, [3, 4]), (4, [])])
def test_warm_up_by_epochs(warmup, epochs):
    assert run(PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=3), warmup))[1] == epochs


def worst_seed_losses(epochs=4):
    """``max_k`` of the mean of ``−ln σ_i^k`` over the seeds of class ``k``, by epochs of a run that never starts."""
    engine = trainer()
    engine.state.max_epochs = epochs
    losses: list[list[float]] = [[], []]

    @engine.on(IterationEvents.LOSS_COMPLETED)
    def look(engine):
        log_sigma = engine.state.output["pred"].detach().log_softmax(1)
        for k, row in ((0, 0), (1, -1)):
            losses[k].append(-log_sigma[:, k, row].mean().item())

    engine.run()
    return [[sum(each[2 * i : 2 * i + 2]) / 2 for each in losses] for i in range(epochs)]


def test_warm_up_until_the_seeds_of_every_class_are_won():
    """The epoch after the first in which both classes' mean losses reach the mark; one of them alone will not do."""
    both = worst_seed_losses()
    worst = [max(each) for each in both]
    assert worst == sorted(worst, reverse=True)  # the premise
    mark = (worst[1] + worst[2]) / 2
    solver = NaturalGradient(ENERGY, max_steps=3)
    assert run(PseudoLabelHandler(solver, 10, mark))[1] == [4]
    assert run(PseudoLabelHandler(solver, 1, mark))[1] == [2, 3, 4]  # whichever is first
    assert run(PseudoLabelHandler(solver, 10, 0.0))[1] == []
    mean = sum(both[0]) / 2
    assert both[0][0] != both[0][1] and worst[1] < mean  # the premise
    assert run(PseudoLabelHandler(solver, 10, mean))[1] == [3, 4]


@pytest.mark.parametrize("mark", [None, 0.01])
def test_classes_that_are_not_won_are_named(mark, caplog):
    """Where warm-up ends by epochs: above the mark, or above chance, ln 2."""
    losses = worst_seed_losses(1)[0]
    assert min(losses) < math.log(2) < max(losses)  # the premise
    with caplog.at_level(logging.INFO):
        run(PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2), 1, mark), epochs=2)
    (told,) = [record.message for record in caplog.records if "Warm-up is over" in record.message]
    for k, loss in enumerate(losses):
        text = f"The seeds of class {k} are not won: their mean loss is {loss:.3f}, above {mark or math.log(2):.3f}."
        assert (text in told) == (loss > (mark or math.log(2)))


def test_labels_are_the_solvers():
    solver = NaturalGradient(ENERGY, max_steps=7)
    engine = trainer(handlers=[PseudoLabelHandler(solver)])

    @engine.on(IterationEvents.LOSS_COMPLETED)
    def compare(engine):
        logits, target = engine.state.output["pred"].detach(), engine.state.output["label"]
        expected = solver(logits, target[GUIDE], target[SCRIBBLE]).labels
        assert torch.equal(target[PSEUDO_LABEL], expected)
        assert not target[PSEUDO_LABEL].requires_grad

    engine.run()
    assert engine.state.iteration == 2


def test_figures():
    """Epoch means, as the mean over samples of each batch."""
    solver = NaturalGradient(ENERGY, max_steps=7)
    engine = trainer(handlers=[PseudoLabelHandler(solver)])
    solutions = []

    @engine.on(IterationEvents.LOSS_COMPLETED)
    def solve_again(engine):
        target = engine.state.output["label"]
        solutions.append(solver(engine.state.output["pred"].detach(), target[GUIDE], target[SCRIBBLE]))

    engine.run()
    metrics = engine.state.metrics
    before, after = (sum(float(s.energy[i].mean()) for s in solutions) / 2 for i in (0, -1))
    assert metrics["solver_energy_before"] == pytest.approx(before)
    assert metrics["solver_energy_after"] == pytest.approx(after)
    assert metrics["solver_steps"] == sum(s.steps for s in solutions) / 2
    assert engine.state.solver_status == str(solutions[-1].status)
    assert engine.state.solver_energy == solutions[-1].energy.mean(1).tolist()
    assert after < before


def test_no_figures_in_warm_up():
    engine, _ = run(PseudoLabelHandler(NaturalGradient(ENERGY), warmup_epochs=9), epochs=1)
    assert not any(name.startswith("solver") for name in engine.state.metrics)


def test_state_survives_a_resume():
    """Ended early by the loss, warm-up does not begin again in another process."""
    first = PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2), 9, warmup_loss=math.inf)
    run(first, epochs=1)
    resumed = PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2), 9, warmup_loss=0.0)
    assert run(resumed, epochs=1)[1] == []
    resumed.load_state_dict(first.state_dict())
    assert run(resumed, epochs=1)[1] == [1]


def test_a_resumed_run_may_be_told_to_warm_up_longer():
    first = PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2))
    assert run(first, epochs=1)[1] == [1]
    resumed = PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2), warmup_epochs=1)
    resumed.load_state_dict(first.state_dict())
    assert run(resumed, epochs=2)[1] == [2]


def test_poisoned_batch_is_left_to_the_guard(caplog):
    engine = trainer(handlers=[PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2)), NonFiniteGuard()])

    @engine.on(Events.ITERATION_STARTED(once=1))
    def poison(engine):
        engine.state.batch["image"][0, 0, 2, 2] = float("nan")

    with caplog.at_level(logging.WARNING):
        engine.run()
    assert engine.state.skipped_batches == 1
    assert "solver_steps" in engine.state.metrics  # from the other batch
    assert all(p.isfinite().all() for p in engine.network.parameters())


def test_loss_marks_ignore_poisoned_batches():
    """One NaN among the losses does not keep warm-up from ending."""
    handler = PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2), 9, warmup_loss=10.0)
    engine = trainer(handlers=[handler, NonFiniteGuard()])

    @engine.on(Events.ITERATION_STARTED(once=2))
    def poison(engine):
        engine.state.batch["image"][:] = float("nan")

    engine.run()
    assert handler.active


def test_solver_in_trouble_is_told_once():
    steep = GradientDescent(ENERGY, steps=1, learning_rate=1e4)
    with pytest.warns(UserWarning, match="lower learning_rate") as told:
        run(PseudoLabelHandler(steep), epochs=2)
    assert sum("Pseudo-labels at iteration" in str(w.message) for w in told) == 1


def test_buffers_and_gradients_of_the_network_are_untouched():
    """Solving costs no second forward pass and leaves no trace in autograd."""
    calls = []
    engine = trainer(loss=SelfLabelingLoss(), handlers=[PseudoLabelHandler(NaturalGradient(ENERGY, max_steps=2))])
    assert isinstance(engine.network, nn.Module)
    engine.network.register_forward_hook(lambda *_: calls.append(1))
    engine.run()
    assert len(calls) == 2


@pytest.mark.parametrize("figures", [(-1, None), (0, -0.5)])
def test_wrong_figures(figures):
    with pytest.raises(ValueError, match="expected warm-up figures >= 0, got"):
        PseudoLabelHandler(NaturalGradient(ENERGY), *figures)
