# SPDX-License-Identifier: Apache-2.0
"""Training ends in time, with its rate at zero and its last epoch validated, by a clock that the test holds."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import PolynomialLR, StepLR

from medwsss.handlers import TimeBudget

LENGTH = 5  # iterations of an epoch


@pytest.fixture
def clock(monkeypatch):
    """One that stands still until something takes time."""
    held = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("medwsss.handlers.time_budget.time", SimpleNamespace(monotonic=lambda: held.now))
    return held


class Validator:
    """Takes its time and remembers when."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.epochs = clock, seconds, []

    def run(self, epoch):
        self.clock.now += self.seconds
        self.epochs.append(epoch)


def train(path, clock, epochs, seconds, validator=None, interval=1, stop=None):
    """Run ``epochs`` as planned; an iteration in epoch e takes ``seconds(e)``. The rate after each, and the epochs."""
    weights = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weights], lr=1.0)
    schedule = PolynomialLR(optimizer, epochs * LENGTH, power=0.9)
    rates = []

    def step(engine, batch):
        clock.now += seconds(engine.state.epoch)
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])

    engine = Engine(step)
    TimeBudget(path, clock.now, schedule, validator, interval).attach(engine)
    if stop:
        engine.add_event_handler(Events.EPOCH_COMPLETED(once=stop), engine.terminate)
    state = engine.run(range(LENGTH), max_epochs=epochs, epoch_length=LENGTH)
    return rates, state.epoch


@pytest.fixture
def path(tmp_path):
    """A minute for training and validation."""
    return write(tmp_path / "budget.json", minutes=1.0, spent=0.0, validation=2.0)


def write(path, **content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("planned", "seconds", "epochs"),
    [
        (12, lambda epoch: 1.0, 12),  # as measured: 12 epochs of 5 s
        (12, lambda epoch: 0.5, 24),  # twice as fast
        (12, lambda epoch: 2.0, 6),
        (12, lambda epoch: 0.6 if epoch == 1 else 1.0, 12),  # a warm-up that says nothing of the rest: 3 + 11 · 5 s
        (1, lambda epoch: 1.0, 1),  # whose rate is at its end already
    ],
    ids=["as planned", "faster", "slower", "warm-up", "one epoch"],
)
def test_epochs_follow_the_clock_and_the_rate_ends_with_them(path, clock, planned, seconds, epochs):
    rates, last = train(path, clock, planned, seconds)
    assert last == epochs and len(rates) == LENGTH * epochs and rates[-1] == 0
    assert all(a > b for a, b in zip(rates, rates[1:]))
    assert json.loads(path.read_text())["spent"] == pytest.approx(sum(LENGTH * seconds(e + 1) for e in range(epochs)))


def test_a_load_that_comes_in_between(path, clock):
    """Seven epochs of 5 s, then of 7.5 s: a machine that somebody else uses as well."""
    begin = clock.now
    rates, _ = train(path, clock, 12, lambda epoch: 1.0 if epoch <= 7 else 1.5)
    assert rates[-1] == 0 and abs(clock.now - begin - 60) < 6


def test_validation_counts_and_the_last_epoch_has_one(path, clock):
    begin, validator = clock.now, Validator(clock, 2.0)
    _, last = train(path, clock, 12, lambda epoch: 1.0, validator, interval=4)
    # an epoch and a quarter of a validation are 5.5 s
    assert validator.epochs[-1] == last == 11 and validator.epochs == [4, 8, 11]
    assert abs(clock.now - begin - 60) < 3


def test_not_right_before_the_last(path, clock):
    """Five epochs of 11 s: the fourth validation would be of the last but one."""
    validator = Validator(clock, 1.0)
    _, last = train(path, clock, 5, lambda epoch: 2.2, validator, interval=4)
    assert last == 5 and validator.epochs == [5]


def test_what_is_spent_stays_spent(path, clock):
    """Four of twelve epochs, a night, and 40 s for the rest, of which starting took 10."""
    train(path, clock, 12, lambda epoch: 1.0, stop=4)
    assert json.loads(path.read_text())["spent"] == 20
    clock.now += 30_000
    begin = clock.now
    weights = torch.nn.Parameter(torch.ones(1))
    schedule = PolynomialLR(torch.optim.SGD([weights], lr=1.0), 8 * LENGTH)
    engine = Engine(lambda engine, batch: setattr(clock, "now", clock.now + 1))
    TimeBudget(path, begin, schedule).attach(engine)
    clock.now += 10
    engine.run(range(LENGTH), max_epochs=8, epoch_length=LENGTH)
    assert clock.now - begin == 40 and json.loads(path.read_text())["spent"] == 60


def test_a_schedule_that_cannot_be_stretched(path, clock):
    with pytest.raises(ValueError, match="expected PolynomialLR with minutes, got StepLR"):
        TimeBudget(path, 0.0, StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), 1))
