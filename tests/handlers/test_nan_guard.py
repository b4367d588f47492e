# SPDX-License-Identifier: Apache-2.0
"""The reference is a loop in plain PyTorch that never sees the bad batches."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from torch.nn.parallel import DistributedDataParallel

from medwsss.handlers import FullCheckpoint, NonFiniteGuard
from tests import toy_training as toy

BATCHES = 6


def network_and_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 1, 1))
    return network, torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.1)


def batches(bad: dict[int, float]) -> list[dict]:
    """Batches of two cases; the second case of the bad ones holds one bad voxel."""
    images = torch.rand(BATCHES, 2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    for index, value in bad.items():
        images[index, 1, 0, 2, 2] = value
    return [
        {
            "image": MetaTensor(image, meta={"filename_or_obj": [f"case_{i}a.nii", f"case_{i}b.nii"]}),
            "label": image[..., 1:4, 1:4].nan_to_num(0, 0, 0),
        }
        for i, image in enumerate(images)
    ]


def trainer_on(data: list[dict], patience: int = 5, loss=None, **options) -> SupervisedTrainer:
    network, optimizer = network_and_optimizer()
    return SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=data,
        network=network,
        optimizer=optimizer,
        loss_function=loss or torch.nn.MSELoss(),
        train_handlers=[NonFiniteGuard(patience=patience)],
        decollate=False,
        **options,
    )


def reference(data: list[dict], steps: list[list[int]], accumulation_steps: int = 1, seen: tuple = ()) -> dict:
    """Weights after the given steps, each over the given batches; the ``seen`` only pass batch norm."""
    network, optimizer = network_and_optimizer()
    for step in steps:
        optimizer.zero_grad()
        for index in step:
            loss = torch.nn.functional.mse_loss(network(data[index]["image"].as_tensor()), data[index]["label"])
            if index not in seen:
                (loss / accumulation_steps).backward()
        if not set(step) & set(seen):
            optimizer.step()
    return network.state_dict()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_bad_batches_are_as_if_never_stepped(caplog, value):
    data = batches({0: value, 3: value})
    trainer = trainer_on(data)
    trainer.run()
    expected = reference(data, [[1], [2], [4], [5]])
    torch.testing.assert_close(trainer.network.state_dict(), expected, rtol=0, atol=0)
    assert trainer.state.skipped_batches == 2
    warnings = [record.message for record in caplog.records if record.name == "medwsss.handlers.nan_guard"]
    assert len(warnings) == 2 and "case_3b.nii" in warnings[1] and "case_3a.nii" not in warnings[1]


@pytest.mark.parametrize("bad", [2, 3])
def test_accumulated_step_is_dropped_whole(bad):
    """Bad in the middle or at the end of the second step of two; its good batch only passes batch norm."""
    data = batches({bad: float("nan")})
    trainer = trainer_on(data, accumulation_steps=2)
    trainer.run()
    good = 5 - bad
    expected = reference(data, [[0, 1], [good], [4, 5]], accumulation_steps=2, seen=(good,))
    torch.testing.assert_close(trainer.network.state_dict(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_either_of_loss_and_gradients_suffices(kind):
    """A non-finite loss with finite gradients, and the reverse: the derivative of √x at 0."""

    def loss(prediction, target):
        mean = torch.nn.functional.mse_loss(prediction, target)
        return mean + float("inf") if kind == "loss" else mean + (0 * prediction).abs().sum().sqrt()

    trainer = trainer_on(batches({})[:3], loss=loss)
    trainer.run()
    assert trainer.state.skipped_batches == 3
    torch.testing.assert_close(trainer.network.state_dict(), network_and_optimizer()[0].state_dict(), rtol=0, atol=0)


def test_several_in_a_row_end_training_with_the_checkpoint_intact(tmp_path):
    data = batches({})
    trainer = trainer_on(data, patience=3)
    trainer.state.max_epochs = 2
    FullCheckpoint(save_dict={"network": trainer.network}, folder=tmp_path).attach(trainer)

    @trainer.on(Events.EPOCH_STARTED(once=2))
    def poison():
        for index in (0, 1, 3, 4, 5):  # two, a good one, three
            data[index]["image"][0, 0, 0, 0] = float("nan")

    with pytest.raises(RuntimeError, match=r"case_5a\.nii.*3 in a row.*untouched"):
        trainer.run()
    assert trainer.state.iteration == 2 * BATCHES and trainer.state.skipped_batches == 5
    saved = torch.load(tmp_path / "checkpoint_epoch=1.pt", weights_only=True)["network"]
    torch.testing.assert_close(saved, reference(batches({}), [[i] for i in range(BATCHES)]), rtol=0, atol=0)


def test_unnamed_batches_are_told_by_iteration(caplog):
    data = [{**batch, "image": batch["image"].as_tensor()} for batch in batches({2: float("nan")})]
    trainer_on(data).run()
    assert "iteration 3" in caplog.text


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_must_be_positive(patience):
    with pytest.raises(ValueError, match="expected a patience"):
        NonFiniteGuard(patience=patience)


# ---- two processes


def run_rank(rank: int, store: Path, folder: Path) -> None:
    """Rank 1 meets a bad batch, rank 0 does not."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    logging.basicConfig(filename=folder / f"log_{rank}", level=logging.INFO)
    trainer = trainer_on(batches({2: float("nan")} if rank else {}))
    trainer.network = DistributedDataParallel(trainer.network)
    FullCheckpoint(save_dict={"network": trainer.network}, folder=folder).attach(trainer)
    trainer.run()
    torch.save(trainer.network.module.state_dict(), folder / f"rank_{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_decide_together_and_one_goes_on(tmp_path):
    ranks = [toy.processes.Process(target=run_rank, args=(rank, tmp_path / "store", tmp_path)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    weights = [torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, tensor in weights[0].items():
        if "weight" in name or "bias" in name:
            assert tensor.isfinite().all() and torch.equal(tensor, weights[1][name]), name
    assert "case_2b.nii" in (tmp_path / "log_0").read_text()  # rank 0 names the case of rank 1

    single = trainer_on(batches({}))
    single.state.max_epochs = 2
    FullCheckpoint(save_dict={"network": single.network}, folder=tmp_path).attach(single)
    starts = []
    single.add_event_handler(Events.EPOCH_STARTED, lambda engine: starts.append(engine.state.epoch))
    single.add_event_handler(
        Events.EPOCH_STARTED,
        lambda engine: torch.testing.assert_close(engine.network.state_dict(), weights[0], rtol=0, atol=0),
    )
    single.run()
    assert starts == [2]
