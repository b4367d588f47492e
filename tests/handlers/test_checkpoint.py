# SPDX-License-Identifier: Apache-2.0
"""Kills, signals, damage and resumes; the answer is always the run that nothing happened to."""

from __future__ import annotations

import logging
import os
import random
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events

from medwsss.handlers import BestModel, save_atomically
from tests import toy_training as toy


def load(path: Path):
    return torch.load(path, weights_only=True)


def assert_equal_runs(folder: Path, reference: Path, epochs: int = toy.EPOCHS) -> None:
    """Bit-equal weights, optimizer, schedule, best value, counters and best model."""
    for name in (f"checkpoint_epoch={epochs}.pt", "model.pt"):
        got, expected = load(folder / name), load(reference / name)
        assert got.pop("trainer", None) == expected.pop("trainer", None)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Folder of a run that nothing happened to, by number of epochs and of data-loading processes."""
    folders: dict[tuple[int, int], Path] = {}

    def get(epochs: int = toy.EPOCHS, workers: int = 0) -> Path:
        if (epochs, workers) not in folders:
            folders[epochs, workers] = tmp_path_factory.mktemp("unbroken")
            toy.run(folders[epochs, workers], epochs=epochs, workers=workers)
        return folders[epochs, workers]

    return get


# ---- resuming


@pytest.mark.parametrize("stop, workers", [*((stop, 0) for stop in range(1, toy.EPOCHS)), (2, 2)])
def test_resumed_run_is_bit_equal(tmp_path, unbroken, stop, workers):
    trainer = toy.build(tmp_path, workers=workers)

    @trainer.on(Events.ITERATION_COMPLETED(once=3 * stop + 2))  # in the middle of the next epoch
    def crash():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trainer.run()
    resumed = toy.build(tmp_path, workers=workers, initial_seed=99)  # the start must come from the checkpoint
    epochs = []
    resumed.add_event_handler(Events.EPOCH_STARTED, lambda engine: epochs.append(engine.state.epoch))
    resumed.run()

    assert epochs == list(range(stop + 1, toy.EPOCHS + 1))
    assert_equal_runs(tmp_path, unbroken(workers=workers))


def test_first_epoch_is_the_best_and_the_state_changes(unbroken):
    """What the comparisons above stand on: they would see a lost best value and a lost epoch."""
    last, before = (load(unbroken() / f"checkpoint_epoch={epoch}.pt") for epoch in (6, 5))
    assert last["best"]["best_metric_epoch"] == 1
    assert last["scheduler"]["last_epoch"] == 6 and before["scheduler"]["last_epoch"] == 5
    assert not torch.equal(last["network"]["model.0.conv.weight"], before["network"]["model.0.conv.weight"])


def test_finished_run_ends_at_once(tmp_path, caplog):
    toy.run(tmp_path, epochs=2)
    before = (tmp_path / "checkpoint_epoch=2.pt").read_bytes()
    again = toy.build(tmp_path, epochs=2)
    seen = []
    again.add_event_handler(Events.ITERATION_STARTED, lambda: seen.append("iteration"))
    again.add_event_handler(Events.COMPLETED, lambda: seen.append("completed"))
    again.run()
    assert seen == ["completed"]
    assert "Already finished" in caplog.text and "output_dir" in caplog.text
    assert (tmp_path / "checkpoint_epoch=2.pt").read_bytes() == before


def test_more_epochs_continue(tmp_path, unbroken):
    toy.run(tmp_path, epochs=2)
    toy.run(tmp_path)
    assert_equal_runs(tmp_path, unbroken())


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped"])
def test_damaged_newest_checkpoint_is_skipped(tmp_path, unbroken, caplog, damage):
    toy.run(tmp_path, epochs=3)
    newest = tmp_path / "checkpoint_epoch=3.pt"
    data = bytearray(newest.read_bytes())
    data[
        data.find(load(newest)["network"]["model.0.conv.weight"].numpy().tobytes())
    ] ^= 1  # torch.load would not notice
    newest.write_bytes({"empty": b"", "truncated": data[: len(data) // 2], "flipped": data}[damage])
    resumed = toy.build(tmp_path)
    epochs = []
    resumed.add_event_handler(Events.EPOCH_STARTED, lambda engine: epochs.append(engine.state.epoch))
    resumed.run()
    assert epochs[0] == 3
    skipped = [record for record in caplog.records if "Skipped" in record.message]
    assert [(str(newest) in record.message, record.levelno) for record in skipped] == [(True, logging.WARNING)]
    assert_equal_runs(tmp_path, unbroken())


def test_checkpoint_of_another_network_is_refused(tmp_path):
    toy.run(tmp_path, epochs=1)
    path = tmp_path / "checkpoint_epoch=1.pt"
    checkpoint = load(path)
    checkpoint["network"]["stranger.weight"] = checkpoint["network"].pop("model.0.conv.weight")
    save_atomically(checkpoint, path)
    with pytest.raises(ValueError, match=r"checkpoint_epoch=1\.pt.*network.*(?s:.)*model\.0\.conv\.weight.*"):
        toy.run(tmp_path)
    del checkpoint["network"]
    save_atomically(checkpoint, path)
    with pytest.raises(ValueError, match=r"expected .*checkpoint_epoch=1\.pt to hold .*'network'.* got "):
        toy.run(tmp_path)


# ---- files


def test_keeps_the_newest_and_cleans_up(tmp_path):
    (tmp_path / "checkpoint_epoch=9.pt.tmp").write_bytes(b"left by a kill")
    toy.run(tmp_path, epochs=5, interval=2, keep=2)
    # 4 by the interval, 5 because it is the last
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint_epoch=4.pt",
        "checkpoint_epoch=5.pt",
        "model.pt",
    ]


def write_and_die(path: Path, at: int) -> None:
    passed = 0

    def point(_name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os._exit(9)

    with toy.observed_writes(point):
        save_atomically({"new": torch.ones(100)}, path)


def test_write_killed_at_every_step_leaves_old_or_new(tmp_path):
    path = tmp_path / "model.pt"
    survivors = []
    for at in range(1, 20):
        save_atomically({"old": torch.zeros(100)}, path)
        code = toy.in_process(write_and_die, path, at)
        survivors += load(path)
        if code == 0:
            break
        assert code == 9
    # torn in the middle, before fsync, before the rename; then before the folder's fsync, and not at all
    assert survivors == ["old", "old", "old", "new", "new"]


def test_data_reach_the_disk_before_the_name(tmp_path):
    steps: list[str] = []
    with toy.observed_writes(steps.append):
        save_atomically({}, tmp_path / "a.pt")
    assert steps == ["write", "fsync", "replace", "fsync"]


def test_failed_write_names_the_file_and_keeps_the_old(tmp_path):
    path = tmp_path / "model.pt"
    save_atomically({"old": 1}, path)

    def fail(_name: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"expected to write .*model\.pt.*No space left"):
        with toy.observed_writes(fail):
            save_atomically({"new": 1}, path)
    assert load(path) == {"old": 1} and [p.name for p in tmp_path.iterdir()] == ["model.pt"]


# ---- signals and kills

ITERATIONS = 3  # an epoch


@pytest.mark.parametrize(
    "kind, at, interval, workers, saved",
    [
        ("iteration", 2, 1, 0, 0),  # in the first epoch: the start itself
        ("iteration", 4 * ITERATIONS + 1, 1, 0, 4),
        ("iteration", 4 * ITERATIONS + 2, 3, 2, 4),  # not on disk by the interval: from memory
        ("validation", 3, 1, 0, 2),  # the epoch's last handlers: epoch 3 is not complete yet
        ("write", 4, 1, 0, 3),  # inside the save of epoch 3 (the first write is model.pt's): written anew from within
        ("replace", 4, 1, 2, 3),
    ],
)
def test_sigterm_saves_and_exits_with_143(tmp_path, unbroken, kind, at, interval, workers, saved):
    options = {"interval": interval, "workers": workers}
    assert toy.in_process(toy.run_struck, tmp_path, signal.SIGTERM, at, kind, **options) == 143
    newest = max(tmp_path.glob("checkpoint_epoch=*.pt"), key=lambda path: int(path.stem.split("=")[1]))
    assert newest.name == f"checkpoint_epoch={saved}.pt"
    assert load(newest)["trainer"]["epoch"] == saved
    assert toy.in_process(toy.run, tmp_path, **options) == 0
    assert_equal_runs(tmp_path, unbroken(workers=workers))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signal_swallowed_by_a_destructor_still_ends_the_run(tmp_path):
    class Swallower:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            sum(range(1000))  # byte codes for the signal handler to run between

    trainer = toy.build(tmp_path, validate=False)
    trainer.add_event_handler(Events.ITERATION_STARTED(once=5), lambda: Swallower() and None)
    with pytest.raises(SystemExit) as exit_:
        trainer.run()
    assert exit_.value.code == 143 and trainer.state.iteration == 5


def test_ctrl_c_saves_and_handlers_are_restored(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        toy.run_struck(tmp_path, signal.SIGINT, 2, "iteration")
    assert (tmp_path / "checkpoint_epoch=0.pt").exists()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    toy.run(tmp_path, epochs=1)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_forked_process_does_not_save(tmp_path):
    codes = []

    def fork_and_strike() -> None:
        if (pid := os.fork()) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        assert not list(tmp_path.iterdir())

    trainer = toy.build(tmp_path, epochs=1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), fork_and_strike)
    trainer.run()
    assert codes == [143]


@pytest.mark.slow
def test_twenty_kills(tmp_path, unbroken):
    """SIGKILL at a random point, of which half lie inside writes; the next process goes on from what is there."""
    epochs, rng = 30, random.Random(1)
    for _ in range(20):
        code = toy.in_process(toy.run_struck, tmp_path, signal.SIGKILL, rng.randint(1, 14), epochs=epochs)
        assert code == -signal.SIGKILL
        checkpoints = list(tmp_path.glob("checkpoint_epoch=*.pt"))
        for path in checkpoints:
            load(path)  # every one is whole, not only the newest
    assert len(checkpoints) == 2
    assert toy.in_process(toy.run, tmp_path, epochs=epochs) == 0
    assert_equal_runs(tmp_path, unbroken(epochs=epochs), epochs=epochs)


# ---- the best model


def test_best_model_follows_the_metric(tmp_path):
    network = torch.nn.Linear(1, 1, bias=False)
    nan = float("nan")
    best = BestModel(network=network, path=tmp_path / "model.pt")
    state = SimpleNamespace(best_metric=-1, best_metric_epoch=-1, key_metric_name="dice")
    kept = []
    for epoch, metric in enumerate([nan, 0.5, 0.7, 0.6, 0.8], start=1):
        torch.nn.init.constant_(network.weight, epoch)
        state.epoch = epoch
        if state.best_metric_epoch == -1 or metric > state.best_metric:  # MONAI's rule, in Workflow
            state.best_metric, state.best_metric_epoch = metric, epoch
        best(SimpleNamespace(state=state))
        kept.append(int(load(tmp_path / "model.pt")["weight"]) if (tmp_path / "model.pt").exists() else None)
    assert kept == [1, 2, 3, 3, 5]  # the first for want of one that is measured
