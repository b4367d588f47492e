# SPDX-License-Identifier: Apache-2.0
"""A training of a few milliseconds an epoch with everything random in it, and ways to strike it down.

``python -m tests.toy_training FOLDER [EPOCHS]`` runs it by hand; run again, it continues.
"""

from __future__ import annotations

import builtins
import logging
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from ignite.engine import Events
from ignite.metrics import MeanAbsoluteError
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from monai.networks.nets import UNet
from monai.transforms import Compose, RandFlipd, RandGaussianNoised

from medwsss.handlers import BestModel, EpochSeeder, FullCheckpoint, NonFiniteGuard

EPOCHS = 6
CASES = 6  # in batches of 2: three iterations an epoch

# forked from a server that has imported everything once: a process starts in milliseconds
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.toy_training", "torch._dynamo"])  # the latter: late import of optimizers


def cases() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(CASES, 1, 8, 8, generator=generator)
    return [
        {"image": MetaTensor(image, meta={"filename_or_obj": f"case_{i}.nii"}), "label": image.flip(1)}
        for i, image in enumerate(images)
    ]


def build(
    folder: Path, epochs: int = EPOCHS, workers: int = 0, initial_seed: int = 0, validate: bool = True, **options: Any
) -> SupervisedTrainer:
    """A trainer with dropout, batch norm, random transforms, Adam, a schedule, validation and all our handlers.

    Args:
        options: ``interval`` and ``keep`` of the checkpoints; anything else is the trainer's.
    """
    torch.set_num_threads(1)
    torch.manual_seed(initial_seed)
    network = UNet(2, in_channels=1, out_channels=1, channels=(2, 4), strides=(2,), dropout=0.3, norm="batch")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    augment = Compose([RandFlipd("image", prob=0.5), RandGaussianNoised("image", prob=0.7, std=0.3)])
    best = BestModel(network=network, path=folder / "model.pt")
    guard = NonFiniteGuard()
    # MONAI takes the greatest metric for the best. The error falls, so epoch 1 stays the best: a run that forgets its
    # best value on resume overwrites model.pt
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(cases()), batch_size=3, shuffle=True),  # draws from the global stream
        network=network,
        key_val_metric={"error": MeanAbsoluteError(lambda output: (output["pred"], output["label"]))},
        val_handlers=[best],
        decollate=False,
    )
    checkpoint = FullCheckpoint(
        save_dict={"network": network, "optimizer": optimizer, "scheduler": scheduler, "best": best, "guard": guard},
        folder=folder,
        interval=options.pop("interval", 1),
        keep=options.pop("keep", 2),
    )
    handlers = [checkpoint, EpochSeeder(seed=3), guard, LrScheduleHandler(scheduler, print_lr=False)]
    return SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(
            Dataset(cases(), augment),
            batch_size=2,
            shuffle=True,
            num_workers=workers,
            # a process from the server would otherwise have its own server for these
            multiprocessing_context="fork" if workers else None,
        ),
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        train_handlers=[*handlers, ValidationHandler(1, evaluator)] if validate else handlers,
        decollate=False,
        **options,
    )


def run(folder: Path, **options: Any) -> SupervisedTrainer:
    trainer = build(folder, **options)
    trainer.run()
    return trainer


@contextmanager
def observed_writes(point: Callable[[str], None]) -> Iterator[None]:
    """Call ``point`` in the middle of every file written atomically, and before every fsync and rename."""

    def observe(name: str, function: Callable) -> Callable:
        def observed(*args: Any) -> Any:
            point(name)
            return function(*args)

        return observed

    def open_torn(*args: Any) -> Any:
        file = builtins.open(*args)
        write = file.write

        def write_torn(data: memoryview) -> None:
            write(data[: len(data) // 2])
            file.flush()
            point("write")
            write(data[len(data) // 2 :])

        torn = mock.MagicMock(wraps=file, write=write_torn)
        torn.__enter__.return_value = torn
        torn.__exit__ = lambda self, *error: file.close()
        return torn

    with (
        mock.patch("medwsss.files.open", open_torn, create=True),
        mock.patch("os.fsync", observe("fsync", os.fsync)),
        mock.patch("os.replace", observe("replace", os.replace)),
    ):
        yield


def run_struck(folder: Path, number: int, at: int, kind: str = "", **options: Any) -> None:
    """:func:`run`, sending itself signal ``number`` at the ``at``-th point of the ``kind`` (of any kind by default).

    The kinds are iteration, validation, write, fsync and replace.
    """
    passed = 0

    def point(name: str) -> None:
        nonlocal passed
        passed += name.startswith(kind)
        if passed == at and name.startswith(kind):
            os.kill(os.getpid(), number)

    trainer = build(folder, **options)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: point("iteration"))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: point("validation"))
    with observed_writes(point):
        trainer.run()


def in_process(target: Callable, *args: Any, **kwargs: Any) -> int:
    """Run ``target`` in a process of its own; its exit code, negative for a signal."""
    process = processes.Process(target=target, args=args, kwargs=kwargs)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _type(words: Sequence[str], output: Path, environment: dict[str, str]) -> None:
    """``python -m`` these words; what is printed goes to ``output/printed`` and ``output/errors``."""
    for number, name in ((1, "printed"), (2, "errors")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(Path(__file__).parents[1])
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv = [*words]
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except Exception:  # shown as the interpreter would show it, not as multiprocessing does
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None


class Typed:
    """``python -m`` these words, with the interface of :class:`subprocess.Popen`, where nothing is imported anew."""

    def __init__(self, words: Sequence[object], **environment: object) -> None:
        self.folder = tempfile.TemporaryDirectory()
        arguments = list(map(str, words)), Path(self.folder.name), {k: str(v) for k, v in environment.items()}
        self.process = processes.Process(target=_type, args=arguments)
        self.process.start()

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; what it printed, and errors."""
        self.process.join()
        return tuple((Path(self.folder.name) / name).read_text() for name in ("printed", "errors"))

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode


def free_port() -> int:
    """Of this machine, for processes to meet at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run(Path(sys.argv[1]), epochs=int(sys.argv[2]) if len(sys.argv) > 2 else EPOCHS)
