# SPDX-License-Identifier: Apache-2.0
"""The teacher is the average of the network's weights, and its probabilities are the pseudo-labels."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn

from medwsss.handlers import MeanTeacherHandler
from medwsss.keys import UNLABELED, VOID


def engine_of(network, step):
    """An engine that gives the network's logits and then moves its weights."""

    def iteration(engine, image):
        engine.state.output = {"image": image, "pred": network(image), "label": {}}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        with torch.no_grad():
            for p in network.parameters():
                p += step
        return engine.state.output

    engine = Engine(iteration)
    engine.register_events(*IterationEvents)
    return engine


def test_an_exponential_average_by_hand():
    """Weights 1, 2, 3 after three steps: the teacher starts at the first, then has 0.75 · old + 0.25 · new."""
    network = nn.Conv1d(1, 2, 1, bias=False)
    nn.init.zeros_(network.weight)
    handler = MeanTeacherHandler(network, decay=0.75, noise=0.0, warmup_epochs=0)
    engine, found = engine_of(network, 1.0), []
    handler.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: found.append(handler.teacher.module.weight[0].item()))
    engine.run([torch.ones(1, 1, 4)] * 3, max_epochs=1)
    assert found == pytest.approx([1.0, 1.25, 0.75 * 1.25 + 0.25 * 3])
    other = MeanTeacherHandler(nn.Conv1d(1, 2, 1, bias=False))
    other.load_state_dict(handler.state_dict())
    assert torch.equal(other.teacher.module.weight, handler.teacher.module.weight)


def test_labels_are_the_teachers_probabilities_after_warm_up():
    network = nn.Conv1d(1, 2, 1)
    handler = MeanTeacherHandler(network, noise=0.0, warmup_epochs=1)
    engine, labels = engine_of(network, 0.1), []
    handler.attach(engine)
    image = torch.randn(1, 1, 4)
    expected = []
    engine.add_event_handler(
        Events.ITERATION_STARTED, lambda: expected.append(handler.teacher(image).softmax(1).detach())
    )
    engine.add_event_handler(
        IterationEvents.FORWARD_COMPLETED, lambda: labels.append(engine.state.output["label"].get("pseudo_label"))
    )
    engine.run([image] * 2, max_epochs=2)
    assert labels[:2] == [None, None]
    torch.testing.assert_close(labels[2:], expected[2:])
    assert not labels[2].requires_grad and not any(p.requires_grad and p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("values", [{"decay": 1.0}, {"noise": -1}, {"warmup_epochs": -1}])
def test_bad_values_are_refused(values):
    with pytest.raises(ValueError, match=r"a decay in \[0, 1\), noise >= 0 and warmup_epochs >= 0"):
        MeanTeacherHandler(nn.Conv1d(1, 2, 1), **values)


def test_the_network_inside_a_parallel_one_is_averaged():
    network = nn.Conv1d(1, 2, 1)
    wrapped = nn.DataParallel(network)
    assert MeanTeacherHandler(wrapped).network is network  # type: ignore[arg-type]


@pytest.mark.parametrize(("epochs", "void"), [(1, False), (9, True)])
def test_where_the_teacher_is_unsure_there_is_no_label(epochs, void):
    """Of 0.96 ln 2 nats: above the limit in the first of nine epochs, 0.75 ln 2, and below that of the last, ln 2."""
    network = nn.Conv1d(1, 2, 1)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(torch.tensor([0.0, 0.5]))
    entropy = torch.distributions.Categorical(logits=network.bias).entropy().item()
    assert 0.75 * math.log(2) < entropy < 0.99 * math.log(2)
    handler = MeanTeacherHandler(network, noise=0.0, max_entropy=math.log(2), looks=2)
    scribble = torch.tensor([[[UNLABELED, 1, VOID]]])
    output = {"image": torch.zeros(1, 1, 3), "label": {"scribble": scribble}}
    handler.teacher.n_averaged.fill_(1)
    state = SimpleNamespace(epoch=1, iteration=1, max_epochs=epochs, epoch_length=1, output=output)
    handler._teach(SimpleNamespace(state=state))  # type: ignore[arg-type]
    assert output["label"]["scribble"].tolist() == [[[VOID if void else UNLABELED, 1, VOID]]]
    assert scribble[0, 0, 0] == UNLABELED


@pytest.mark.parametrize("values", [{"max_entropy": 0.0}, {"max_entropy": 0.5, "looks": 0}])
def test_bad_doubts_are_refused(values):
    with pytest.raises(ValueError, match="positive max_entropy or none, and looks from 1"):
        MeanTeacherHandler(nn.Conv1d(1, 2, 1), **values)
