# SPDX-License-Identifier: Apache-2.0
"""The full training state after every epoch, and the resume that finds it."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from medwsss.files import bare, load_verified, serialize, write_atomically
from medwsss.handlers.resuming import differences, hyperparameters, load_objects

logger = logging.getLogger(__name__)

_CHECKPOINT = re.compile(r"checkpoint_epoch=(\d+)\.pt")


def checkpoints_in(folder: Path) -> list[tuple[int, Path]]:
    """Epoch and path of every checkpoint, oldest first."""
    matches = [(_CHECKPOINT.fullmatch(path.name), path) for path in folder.glob("checkpoint_epoch=*.pt")]
    return sorted((int(match[1]), path) for match, path in matches if match)


class FullCheckpoint:
    """Writes the full training state after every epoch, and continues from it when the same command is run again.

    - ``folder/checkpoint_epoch=N.pt`` holds the ``state_dict`` of everything in ``save_dict``, the engine's epoch and,
      under AMP, its ``GradScaler``; the newest ``keep`` files stay. Random states are not in it: with
      :class:`~medwsss.handlers.EpochSeeder` on the same trainer they follow from seed and epoch, and a resumed run is
      bit-equal to an unbroken one on CPU.
    - When the engine starts, the newest readable checkpoint is loaded and training goes on after its epoch; an
      unreadable one is skipped with a warning. One that already is at ``max_epochs`` ends training at once.
    - Settings are those of the present run (:mod:`medwsss.handlers.resuming` says what is a setting); each that differs
      from the checkpoint's is a warning. With more ``max_epochs`` than the run had, training goes on as a run of that
      length would.
    - SIGTERM writes the state at the last epoch boundary (the start, in the first epoch) if it is not on disk yet and
      exits with 143; Ctrl-C does the same and raises ``KeyboardInterrupt``.
    - Only rank 0 writes, every rank loads; the folder must be shared.

    Its place in ``train_handlers`` does not matter: it saves after every other handler of the epoch's end, because it
    joins them only when the engine starts. (A handler in ``save_dict`` must not reset itself at ``STARTED``, though.)

    Args:
        save_dict: name → object with ``state_dict`` and ``load_state_dict``; ``trainer`` and ``scaler`` are taken.
        folder: where the checkpoints are; made if absent.
        keep: number of checkpoints kept, at least 1.
        interval: epochs from one file to the next, at least 1. The last epoch is always written.
        settings: what else decides about training, to be written with the state and compared on resume: numbers, text
            and nested dictionaries and lists of them.

    Raises:
        ValueError: for an argument out of range; when started, if a checkpoint does not fit ``save_dict``.
    """

    def __init__(
        self,
        save_dict: dict[str, Any],
        folder: str | os.PathLike,
        keep: int = 2,
        interval: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if keep < 1 or interval < 1:
            raise ValueError(f"expected keep and interval of at least 1, got {keep} and {interval}")
        if taken := {"trainer", "scaler"} & set(save_dict):
            raise ValueError(f"expected other names in save_dict than 'trainer' and 'scaler', got {sorted(taken)}")
        self.save_dict = save_dict
        self.folder = Path(folder)
        self.keep = keep
        self.interval = interval
        self.settings = settings
        self._start: dict[str, Any] = {}  # what optimizers and schedules were before training
        self._unsaved: tuple[int, memoryview] | None = None  # the last epoch boundary, while it is not on disk
        self._signal = 0
        self._previous: dict[int, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Wait for the trainer's start."""
        engine.add_event_handler(Events.STARTED, self.started)

    def started(self, engine: Engine) -> None:
        """Resume, and join the engine's handlers behind all others."""
        self._catch_signals()
        self._start = self._start or hyperparameters(self._objects(engine))
        if not self._resume(engine):
            self._snapshot(engine)
        if not engine.has_event_handler(self.epoch_completed):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._leave_if_asked)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
            engine.add_event_handler(Events.COMPLETED, self.completed)

    def epoch_completed(self, engine: Engine) -> None:
        """Take the state; write it where the interval says so."""
        self._snapshot(engine)
        if engine.state.epoch % self.interval == 0:
            self._flush()

    def completed(self) -> None:
        """Write the last epoch's state, and leave signals to whom they belonged."""
        self._flush()
        self._restore_signals()

    def _objects(self, engine: Engine) -> dict[str, Any]:
        scaler = getattr(engine, "scaler", None)  # MONAI makes it in run()
        objects = self.save_dict if scaler is None else {**self.save_dict, "scaler": scaler}
        return {name: bare(obj) for name, obj in objects.items()}

    # ---- writing

    def _snapshot(self, engine: Engine) -> None:
        if idist.get_rank() == 0:
            state = {name: obj.state_dict() for name, obj in self._objects(engine).items()}
            state["trainer"] = {
                "epoch": engine.state.epoch,
                "epoch_length": engine.state.epoch_length,
                "hyperparameters": self._start,
                "settings": self._settings(engine),
            }
            self._unsaved = engine.state.epoch, serialize(state)

    def _flush(self) -> None:
        if self._unsaved is None:
            return
        epoch, data = self._unsaved
        write_atomically(data, self.folder / f"checkpoint_epoch={epoch}.pt")
        # newer ones are unreadable leftovers: they neither count nor are ours to delete
        older = [path for number, path in checkpoints_in(self.folder) if number <= epoch]
        for path in older[: -self.keep]:
            path.unlink(missing_ok=True)
        self._unsaved = None

    # ---- resuming

    def _resume(self, engine: Engine) -> bool:
        if idist.get_rank() == 0:
            for stray in self.folder.glob("checkpoint_epoch=*.pt.tmp"):
                stray.unlink(missing_ok=True)
        found = False
        for _, path in reversed(checkpoints_in(self.folder)):
            try:
                checkpoint = load_verified(path)
            except Exception as error:  # zip, pickle and I/O each fail in their own way on a damaged file
                logger.warning("Skipped the unreadable checkpoint %s (%s).", path, error)
                continue
            self._load(engine, checkpoint, path)
            found = True
            break
        epochs: Any = idist.all_gather(engine.state.epoch)
        if len(set(epochs)) > 1:
            raise ValueError(f"expected every process to see the same checkpoints, got different ones in {self.folder}")
        return found

    def _load(self, engine: Engine, checkpoint: Any, path: Path) -> None:
        objects, state = self._objects(engine), engine.state
        trainer = checkpoint["trainer"]
        state.epoch_length = state.epoch_length or trainer["epoch_length"]
        changed = self._changed(engine, trainer)
        advice = "choose another output_dir, or the configuration that wrote it"
        advice += f" (since then {', '.join(changed)})" if changed else ""
        expected, got = (sorted({"trainer", *names} - {"scaler"}) for names in (objects, checkpoint))
        if got != expected:
            raise ValueError(f"expected {path} to hold {expected}, got {got}; {advice}")
        try:
            changed += load_objects(objects, checkpoint, self._start, state.epoch_length or 0)
        except ValueError as error:
            raise ValueError(f"expected {path} to fit this run, got {error}; {advice}") from error
        epoch = trainer["epoch"]
        state.epoch, state.iteration = epoch, epoch * (state.epoch_length or 0)
        if epoch >= state.max_epochs:
            logger.warning(
                "Already finished: %s is at epoch %d of %d. Raise epochs to train on, "
                "or choose another output_dir to train anew.",
                path,
                epoch,
                state.max_epochs,
            )
        else:
            logger.info(
                "Resumed from %s: continuing after epoch %d of %d. Weights, moments and handlers' states are from "
                "there, settings from the present command.",
                path,
                epoch,
                state.max_epochs,
            )
        for text in changed if idist.get_rank() == 0 else ():
            logger.warning("Changed since %s: %s.", path.name, text)

    def _settings(self, engine: Engine) -> dict[str, Any]:
        """What decides about training and is in no state."""
        return {
            **(self.settings or {}),
            "epochs": engine.state.max_epochs,
            "iterations of an epoch": engine.state.epoch_length,
            "processes": idist.get_world_size(),
            "mixed precision": getattr(engine, "scaler", None) is not None,
            "kind of device": torch.device(getattr(engine.state, "device", None) or idist.device()).type,
        }

    def _changed(self, engine: Engine, trainer: Mapping[str, Any]) -> list[str]:
        """What differs from the settings in a checkpoint."""
        if "settings" in trainer:
            return list(differences(trainer["settings"], self._settings(engine)))
        length = "iterations of an epoch"
        known = differences({length: trainer["epoch_length"]}, {length: engine.state.epoch_length})
        return ["perhaps more than can be told, as an earlier version wrote it without its settings", *known]

    # ---- signals

    def _catch_signals(self) -> None:
        self._signal = 0
        self._pid = os.getpid()
        if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous.setdefault(number, signal.signal(number, self._on_signal))

    def _restore_signals(self) -> None:
        while self._previous:
            number, previous = self._previous.popitem()
            signal.signal(number, previous or signal.SIG_DFL)  # None: installed from outside Python

    def _on_signal(self, number: int, _frame: Any) -> None:
        if os.getpid() != self._pid:  # a data-loading process just forked, which inherited this function
            os._exit(128 + number)
        self._signal = number
        self._leave_if_asked()  # inside a save, this writes the same bytes to the same file once more

    def _leave_if_asked(self) -> None:
        """Also after every iteration: Python drops an exception raised inside a destructor, such as a data loader's."""
        if self._signal:
            self._flush()
            self._restore_signals()
            logger.warning("Stopped by signal %d; run the same command again to continue.", self._signal)
            raise KeyboardInterrupt if self._signal == signal.SIGINT else SystemExit(128 + self._signal)
