# SPDX-License-Identifier: Apache-2.0
"""Figures of hand-made batches, counted by hand, and what is advised."""

from __future__ import annotations

import io

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.networks import one_hot

from medwsss.handlers import PseudoLabelDiagnostics, PseudoLabelHandler
from medwsss.keys import HELD_OUT, PSEUDO_LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.metrics import decided_by
from medwsss.solvers import NaturalGradient
from medwsss.terms import SelfLabelingEnergy
from tests.test_engines import trainer

U, V = UNLABELED, VOID
CLASSES = 3


def hot(labels, certainty=1.0):
    """``B 3 *S``: ``certainty`` for the label, the rest in equal parts."""
    rest = (1 - certainty) / (CLASSES - 1)
    return one_hot(torch.tensor(labels)[:, None], CLASSES) * (certainty - rest) + rest


def batch(network, labels=None, scribble=None, held_out=None, certainty=1.0):
    """A batch of lines, after the forward pass: ``B`` lists of classes each."""
    scribble = torch.tensor(scribble or [[U] * len(line) for line in network])[:, None]
    targets = {SCRIBBLE: scribble}
    if labels is not None:
        targets[PSEUDO_LABEL] = hot(labels, certainty)
    data = {"output": {"pred": 5 * hot(network), "label": targets}}
    if held_out is not None:
        data[HELD_OUT] = MetaTensor(torch.tensor(held_out)[:, None])
    return data


def watch(*epochs, handler=None):
    """The handler after epochs, each a list of batches."""
    handler = handler or PseudoLabelDiagnostics()

    def forward(engine, data):
        engine.state.output = data["output"]
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        return data["output"]

    engine = Engine(forward)
    engine.register_events(*IterationEvents)
    handler.attach(engine)
    batches = iter([data for epoch in epochs for data in epoch])
    engine.run(batches, max_epochs=len(epochs), epoch_length=len(epochs[0]))
    assert {name: engine.state.metrics[name] for name in handler.figures} == handler.figures
    return handler


# Free: 1 to 5, and all of the second line. Changed: 3 to 5, and 1 and 2 of the second line.
NETWORK = [[0, 0, 0, 1, 2, 2, 1, 0], [0, 1, 1, 1, 1, 1, 1, 1]]
LABELS = [[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 2, 1, 1, 1, 1, 1]]
SCRIBBLE_ = [[0, U, U, U, U, U, 1, V], [U] * 8]
HELD = [[U] * 8, [0, 0, 1, U, U, U, U, V]]


def test_worked_example():
    figures = watch([batch(NETWORK, LABELS, SCRIBBLE_, HELD, 0.8)]).figures
    assert figures == pytest.approx(
        {
            "held_out_network": (1 / 2 + 1) / 2,
            "held_out_pseudo_label": (1 + 0) / 2,
            "pseudo_label_change": 5 / 13,
            "pseudo_label_certainty": 0.8,
            # 4 and 5 reach the seed at 6; between 3 and the seed of its class lies what the network has said itself
            "decided_by_seeds": 4 / 7,
            "decided_by_edges": 1 / 7,
            "decided_by_network": 2 / 7,
        }
    )


def test_an_epoch_is_one_sum():
    """One seed that is right and three that are wrong are a recall of a quarter, however they are batched."""
    batches = [batch([[0, 2, 2, 2]], held_out=[[0, U, U, U]]), batch([[2, 1, 1, 1]], held_out=[[U, 0, 0, 0]])]
    assert watch(batches).figures == {"held_out_network": 0.25}
    assert watch(batches[:1], batches[1:]).figures == {"held_out_network": 0}  # the last epoch's alone
    assert watch([batch([[0, 1]])]).figures == {}


def test_poisoned_batches_do_not_count():
    poisoned = batch([[1, 1]], held_out=[[0, 0]])
    poisoned["output"]["pred"][0, 0, 0] = float("nan")
    assert watch([batch([[0, 1]], held_out=[[0, 1]]), poisoned]).figures == {"held_out_network": 1}


def test_seeds_spread_in_any_number_of_axes(shape):
    """Everything differs from the network and has the label of one seed; then a wall of another label before it."""
    labels, network, scribble = torch.ones(shape).long(), torch.zeros(shape).long(), torch.full(shape, U)
    corner = (0,) * len(shape)
    scribble[corner] = 1
    total = labels.numel()
    assert decided_by(labels, network, scribble) == (total, 0, 0)
    wall = torch.zeros(shape, dtype=torch.bool)
    for axis in range(len(shape)):
        wall.select(axis, 1)[...] = True
    behind = [torch.arange(n) > 1 for n in shape]
    behind = torch.stack(torch.meshgrid(*behind, indexing="ij")).any(0) & ~wall
    near = int((~behind & ~wall).sum())
    labels[wall] = 0  # as the network has it
    assert decided_by(labels, network, scribble) == (near, int(behind.sum()), int(wall.sum()))


def test_corners_do_not_touch():
    """Pairs of a 1-connected grid are faces, so labels do not travel across corners."""
    labels, network, scribble = torch.eye(2).long(), torch.zeros(2, 2).long(), torch.full((2, 2), U)
    scribble[0, 0] = 1
    assert decided_by(labels, network, scribble) == (1, 1, 2)


# ---- advice


def advice(*batches):
    return watch(list(batches)).advice


def line(change, length=2000, label=1):
    """A network that says 0 throughout and labels that differ in ``change`` voxels."""
    return [[0] * length], [[label] * change + [0] * (length - change)]


def test_no_advice_when_all_is_well():
    assert advice(batch(*line(100), held_out=[[1] * 50 + [U] * 1950])) is None
    assert advice(batch([[0, 1]], held_out=[[1, 0]])) is None  # warm-up: nothing to say of pseudo-labels yet


def test_advice_when_worse_than_the_network():
    text = advice(batch(*line(100), held_out=[[0] * 100 + [U] * 1900]))
    assert "0.000 against 1.000" in text and "lower bandwidth" in text
    some_of_many = [[0] * 100 + [U] * 1900]

    def wrong(number):
        return advice(batch([[0] * 2000], [[1] * number + [0] * (2000 - number)], held_out=some_of_many))

    assert wrong(9) is None and "0.890 against 1.000" in wrong(11)  # a tenth may be wrong


def test_advice_when_nothing_changes():
    assert "raise lam, lower solver_eta" in advice(batch(*line(1)))
    assert advice(batch(*line(3))) is None
    learnt = watch([batch(*line(100))], [batch(*line(0))])  # in the end a network agrees with what it was taught
    assert learnt.figures["pseudo_label_change"] == 0 and learnt.advice is None


def test_advice_when_nearly_all_changes():
    assert "on 75% of the voxels: lower lam" in advice(batch(*line(1500)))


def test_advice_when_a_class_is_lost():
    network, labels = line(100)
    scribble = [[2] + [U] * 1999]
    assert "classes [2] have seeds but no pseudo-labels" in advice(batch(network, labels, scribble))
    assert advice(batch(network, labels, scribble), batch(*line(5, label=2))) is None


def test_attributes_survive_a_resume():
    first = watch([batch(NETWORK, LABELS, SCRIBBLE_, HELD)])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = PseudoLabelDiagnostics()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert (resumed.figures, resumed.advice) == (first.figures, first.advice)


@pytest.mark.parametrize("warmup", [0, 1])
def test_in_the_trainer(warmup):
    """After the pseudo-label handler, in a real training; in warm-up there is nothing to tell."""
    diagnostics = PseudoLabelDiagnostics()
    trainer(
        handlers=[PseudoLabelHandler(NaturalGradient(SelfLabelingEnergy(), max_steps=5), warmup), diagnostics]
    ).run()
    if warmup:
        assert not diagnostics.figures
        return
    shares = [diagnostics.figures[f"decided_by_{name}"] for name in ("seeds", "edges", "network")]
    assert sum(shares) == pytest.approx(1) and shares[0] >= 10 / 30  # the seeds themselves, two rows of six
    assert 0.5 < diagnostics.figures["pseudo_label_certainty"] <= 1
