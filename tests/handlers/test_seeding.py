# SPDX-License-Identifier: Apache-2.0
"""Streams that depend on seed, epoch and rank, and on nothing else. Resumed runs are in test_checkpoint."""

from __future__ import annotations

import random
from unittest import mock

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoise

from medwsss.handlers import EpochSeeder
from tests import toy_training as toy


def draws(epochs: int, workers: int = 0, seed: int = 5, rank: int = 0, start: int = 0, **options) -> list[list[float]]:
    """For every epoch: order and noise of the data, and a number from each global stream in every iteration."""
    data = Dataset([torch.full((1, 2), float(i)) for i in range(6)], RandGaussianNoise(prob=1.0, std=0.1))
    loader = DataLoader(data, batch_size=2, shuffle=True, num_workers=workers, **options)
    seen: list[list[float]] = [[] for _ in range(epochs)]

    def step(engine, batch) -> None:
        numbers = [*batch.flatten().tolist(), random.random(), float(np.random.rand()), float(torch.rand(()))]
        seen[engine.state.epoch - 1 - start] += numbers

    engine = Engine(step)
    EpochSeeder(seed=seed).attach(engine)
    epoch_length = 2  # of 3 in the loader: the third must not leak into the next epoch
    engine.load_state_dict({"epoch": start, "epoch_length": epoch_length, "max_epochs": start + epochs})
    with mock.patch("ignite.distributed.get_rank", return_value=rank):
        engine.run(loader)
    return seen


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_depends_on_its_number_alone(workers):
    torch.manual_seed(0)
    unbroken = draws(3, workers)
    torch.manual_seed(1)
    random.seed(1)
    assert draws(1, workers, start=2) == unbroken[2:]
    flat = sum(unbroken, [])
    assert len(set(flat)) == len(flat) == 3 * 2 * (4 + 3)  # no stream repeats from epoch to epoch


def test_loader_generator_is_seeded():
    first, second = (draws(2, generator=torch.Generator().manual_seed(start)) for start in (1, 2))
    assert first == second


@pytest.mark.parametrize("change", [{"seed": 6}, {"rank": 1}])
def test_seed_and_rank_have_their_own_streams(change):
    assert not set(draws(1)[0]) & set(draws(1, **change)[0])


def test_validation_does_not_disturb_training(tmp_path):
    networks = [toy.run(tmp_path / str(validate), epochs=3, validate=validate).network for validate in (True, False)]
    states = [network.state_dict() for network in networks]
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_persistent_workers_are_refused():
    with pytest.raises(ValueError, match="expected persistent_workers=False"):
        draws(1, workers=1, persistent_workers=True)


def test_works_without_data():
    engine = Engine(lambda engine, batch: None)
    EpochSeeder(seed=0).attach(engine)
    drawn = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: drawn.append(random.random()))
    for _ in range(2):
        engine.run(epoch_length=1, max_epochs=1)
    assert drawn[0] == drawn[1]
