# SPDX-License-Identifier: Apache-2.0
"""A run that goes on under other settings: rates are those of a run that had them from its start."""

from __future__ import annotations

import logging
from functools import partial
from io import BytesIO
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from medwsss.files import save_atomically, serialize
from medwsss.handlers import BestModel, FullCheckpoint
from medwsss.handlers.resuming import differences, hyperparameters, load_objects

POLY = partial(PolynomialLR, power=0.9)


class Run:
    """Two parameters, an optimizer and a schedule that goes on with every iteration, ``length`` of them an epoch."""

    def __init__(self, total=12, length=3, schedule=POLY, optimizer=SGD, lr=0.5, **options):
        self.weights = torch.nn.Parameter(torch.ones(2))
        options = {"momentum": 0.9, **options} if optimizer is SGD else options
        self.optimizer = optimizer([self.weights], lr=lr, **options)
        self.schedule = schedule(self.optimizer, total_iters=total) if schedule is POLY else schedule(self.optimizer)
        self.length, self.epoch, self.rates = length, 0, []
        self.objects = {"optimizer": self.optimizer, "schedule": self.schedule}
        self.start = hyperparameters(self.objects)

    def train(self, epochs, per_epoch=False):
        for _ in range(epochs):
            for _ in range(self.length):
                self.rates.append(self.optimizer.param_groups[0]["lr"])
                self.optimizer.zero_grad()
                self.weights.square().sum().backward()
                self.optimizer.step()
                if not per_epoch:
                    self.schedule.step()
            if per_epoch:
                self.schedule.step()
            self.epoch += 1
        return self

    def saved(self):
        state = {name: obj.state_dict() for name, obj in self.objects.items()}
        trainer = {"epoch": self.epoch, "epoch_length": self.length, "hyperparameters": self.start}
        return torch.load(BytesIO(serialize({**state, "trainer": trainer})), weights_only=True)

    def resume(self, checkpoint):
        self.epoch = checkpoint["trainer"]["epoch"]
        self.told = load_objects(self.objects, checkpoint, self.start, self.length)
        return self


def old(checkpoint):
    """As it was written before settings were."""
    del checkpoint["trainer"]["hyperparameters"]
    return checkpoint


@pytest.mark.parametrize("age", [lambda checkpoint: checkpoint, old], ids=["new", "old"])
def test_more_epochs_are_those_of_a_longer_run(age):
    """Two epochs of two, then epochs 3 and 4 of four: by the closed form, and to the bit by the run of four."""
    first = Run(total=6).train(2)
    assert first.optimizer.param_groups[0]["lr"] == 0
    resumed = Run(total=12).resume(age(first.saved()))
    kept = resumed.optimizer.state[resumed.weights]["momentum_buffer"]
    assert kept.any() and torch.equal(kept, first.optimizer.state[first.weights]["momentum_buffer"])
    assert resumed.told == ["schedule#total_iters was 6, is 12"]
    resumed.train(2)
    assert resumed.rates == pytest.approx([0.5 * (1 - i / 12) ** 0.9 for i in range(6, 12)])
    assert resumed.rates == Run(total=12).train(4).rates[6:]


@pytest.mark.parametrize("age", [lambda checkpoint: checkpoint, old], ids=["new", "old"])
def test_an_unchanged_run_loads_what_was_saved(age):
    checkpoint = age(Run().train(2).saved())
    resumed = Run().resume(checkpoint)
    assert resumed.told == []
    assert resumed.optimizer.state_dict()["param_groups"] == checkpoint["optimizer"]["param_groups"]
    assert resumed.schedule.state_dict() == checkpoint["schedule"]
    assert resumed.train(2).rates == Run().train(4).rates[6:]


def test_another_length_of_epochs_keeps_the_epoch():
    """Other batches or more cases: iteration 2 x 5 of 4 x 5, where it was 2 x 3 of 4 x 3."""
    resumed = Run(total=20, length=5).resume(Run().train(2).saved())
    assert resumed.schedule.last_epoch == 10
    assert resumed.train(2).rates == pytest.approx([0.5 * (1 - i / 20) ** 0.9 for i in range(10, 20)])


def test_the_rate_is_the_commands():
    resumed = Run(lr=0.1).resume(Run().train(2).saved())
    assert {"optimizer#groups#0#lr was 0.5, is 0.1", "schedule#base_lrs was [0.5], is [0.1]"} <= set(resumed.told)
    assert resumed.train(2).rates == Run(lr=0.1).train(4).rates[6:]


def test_other_settings_of_the_optimizer_are_the_commands():
    resumed = Run(weight_decay=0.25, nesterov=True).resume(Run().train(2).saved())
    group = resumed.optimizer.param_groups[0]
    assert (group["weight_decay"], group["nesterov"], group["momentum"]) == (0.25, True, 0.9)
    assert sorted(text.split("#")[-1] for text in resumed.told) == [
        "nesterov was False, is True",
        "weight_decay was 0, is 0.25",
    ]
    assert resumed.train(2).rates == Run().train(4).rates[6:]


def test_a_rate_that_training_itself_has_changed_goes_on():
    """By a handler that nobody saves; the command still says what it said at first."""
    first = Run()
    del first.objects["schedule"], first.start["schedule"]
    first.optimizer.param_groups[0]["lr"] = 0.01
    resumed = Run(weight_decay=0.25)
    del resumed.objects["schedule"], resumed.start["schedule"]
    group = resumed.resume(first.saved()).optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.25)


@pytest.mark.parametrize(
    "make",
    [
        lambda scale: partial(CosineAnnealingLR, T_max=12 * scale),
        lambda scale: partial(OneCycleLR, max_lr=0.5, total_steps=13 * scale),  # drives the momentum too
        lambda scale: partial(LambdaLR, lr_lambda=lambda i: 1 / (1 + i / scale)),
        lambda scale: lambda optimizer: SequentialLR(
            optimizer, [LinearLR(optimizer, total_iters=2), PolynomialLR(optimizer, 12 * scale)], milestones=[2]
        ),
    ],
    ids=["cosine", "one cycle", "lambda", "sequential"],
)
def test_any_schedule_is_gone_through_anew(make):
    first = Run(schedule=make(1)).train(2)
    for resumed, whole in (
        (Run(schedule=make(1)), Run(schedule=make(1))),
        (Run(schedule=make(2), lr=0.25), Run(schedule=make(2), lr=0.25)),
    ):
        whole.train(4)
        assert resumed.resume(first.saved()).train(2).rates == whole.rates[6:]
        assert resumed.optimizer.param_groups[0]["momentum"] == whole.optimizer.param_groups[0]["momentum"]


def test_a_schedule_by_epochs_stays_at_its_epoch():
    first = Run(total=4).train(2, per_epoch=True)
    resumed = Run(total=8, length=5).resume(first.saved())
    assert resumed.schedule.last_epoch == 2
    resumed.train(2, per_epoch=True)
    assert resumed.rates[::5] == pytest.approx([0.5 * (1 - i / 8) ** 0.9 for i in (2, 3)])


def test_a_schedule_that_depends_on_losses_cannot_be_gone_through_anew():
    make = partial(ReduceLROnPlateau, patience=0)
    first = Run(schedule=make)
    for _ in range(3):
        first.schedule.step(1.0)
    assert first.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert Run(schedule=make).resume(first.saved()).optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    with pytest.raises(ValueError, match="other settings of schedule, whose rate past losses have led to"):
        Run(schedule=partial(ReduceLROnPlateau, patience=3)).resume(first.saved())


def test_another_optimizer_starts_without_moments():
    resumed = Run(optimizer=AdamW).resume(Run().train(2).saved())
    assert not resumed.optimizer.state and "betas" in resumed.optimizer.param_groups[0]
    assert "optimizer#kind was 'SGD', is 'AdamW'" in resumed.told
    assert "optimizer starts without moments: those of SGD are not what AdamW keeps" in resumed.told
    assert resumed.train(2).rates == Run(optimizer=AdamW).train(4).rates[6:]


def test_differences_are_named_by_id():
    then = {"a": 1, "net": {"channels": [4, 8], "drop": 0.1}, "steps": [{"p": 1}, {"p": 2}], "gone": None, "same": [1]}
    now = {"a": 2, "net": {"channels": [4, 9]}, "steps": [{"p": 1}, {"p": 3}], "same": (1,), "x": "y" * 99}
    texts = list(differences(then, now))
    assert texts[:4] == [
        "a was 1, is 2",
        "net#channels was [4, 8], is [4, 9]",
        "net#drop was 0.1, is not given",
        "steps#1#p was 2, is 3",
    ]
    assert texts[4] == "gone was None, is not given"
    assert texts[-1].startswith("x was not given, is 'yyy") and len(texts[-1]) < 100


# ---- in the handler


class Scaler:
    """Stands for ``GradScaler``, whose scale is its state."""

    def __init__(self, scale):
        self.scale = scale

    def state_dict(self):
        return {"scale": self.scale}

    def load_state_dict(self, state):
        self.scale = state["scale"]


def engine_of(folder, epochs=1, scaler=None, settings=None, width=2, length=3):
    engine = Engine(lambda engine, batch: None)
    engine.scaler = scaler
    FullCheckpoint({"network": torch.nn.Linear(width, 1)}, folder, settings=settings).attach(engine)
    engine.run(range(length), max_epochs=epochs)
    return engine


def told(caplog):
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [text.partition(": ")[2].rstrip(".") for text in texts if text.startswith("Changed")]


def test_every_difference_is_a_line(tmp_path, caplog):
    engine_of(tmp_path, settings={"seed": 0, "loss": {"eta": 1.0}})
    assert told(caplog) == []
    engine_of(tmp_path, epochs=2, settings={"seed": 0, "loss": {"eta": 0.3}}, length=5)
    assert told(caplog) == ["loss#eta was 1.0, is 0.3", "epochs was 1, is 2", "iterations of an epoch was 3, is 5"]
    caplog.clear()
    engine_of(tmp_path, epochs=3, settings={"seed": 0, "loss": {"eta": 0.3}}, length=5)
    assert told(caplog) == ["epochs was 2, is 3"]  # since the second run, which wrote its own settings


@pytest.mark.parametrize("before, after, scale", [(None, Scaler(2.0), 2.0), (Scaler(8.0), Scaler(2.0), 8.0)])
def test_amp_may_be_turned_on_and_is_told(tmp_path, caplog, before, after, scale):
    engine_of(tmp_path, scaler=before)
    engine_of(tmp_path, epochs=2, scaler=after)
    assert after.scale == scale
    assert ("mixed precision was False, is True" in told(caplog)) == (before is None)


def test_amp_may_be_turned_off_and_is_told(tmp_path, caplog):
    engine_of(tmp_path, scaler=Scaler(8.0))
    engine_of(tmp_path, epochs=2)
    assert "mixed precision was True, is False" in told(caplog)


def test_what_makes_the_weights_useless_is_refused_with_what_changed(tmp_path):
    engine_of(tmp_path, settings={"in_channels": 2})
    with pytest.raises(ValueError, match="to fit this run, got another network: .*(?s:.)*another output_dir") as error:
        engine_of(tmp_path, epochs=2, settings={"in_channels": 3}, width=3)
    assert "(since then in_channels was 2, is 3, epochs was 1, is 2)" in str(error.value)


def test_a_checkpoint_of_an_earlier_version(tmp_path, caplog):
    engine_of(tmp_path, settings={"seed": 0})
    path = tmp_path / "checkpoint_epoch=1.pt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["trainer"] = {"epoch": 1, "epoch_length": 3}
    save_atomically(checkpoint, path)
    assert engine_of(tmp_path, epochs=2, settings={"seed": 1}, length=4).state.iteration == 8
    assert ["earlier version" in text for text in told(caplog)] == [True, False]
    assert told(caplog)[1] == "iterations of an epoch was 3, is 4"


def test_a_best_model_whose_file_is_gone_is_not_the_best(tmp_path, caplog):
    best = BestModel(torch.nn.Linear(1, 1), tmp_path / "model.pt")
    best._engine = SimpleNamespace(state=SimpleNamespace(best_metric=-1, best_metric_epoch=-1))
    best.load_state_dict({"best_metric": 0.9, "best_metric_epoch": 3})
    assert best._engine.state.best_metric == -1 and "epoch 3" in caplog.text
    (tmp_path / "model.pt").touch()
    best.load_state_dict({"best_metric": 0.9, "best_metric_epoch": 3})
    assert best._engine.state.best_metric == 0.9
