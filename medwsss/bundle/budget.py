# SPDX-License-Identifier: Apache-2.0
"""A number of minutes in place of a number of epochs: how long a step takes is measured before training begins."""

from __future__ import annotations

import copy
import logging
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import distributed

from medwsss.bundle.command_line import is_bundle_run
from medwsss.bundle.overrides import typed_options
from medwsss.bundle.running import running_parser
from medwsss.files import read_json, write_json
from medwsss.keys import BUDGET, GUIDE, IMAGE, LOGITS, PSEUDO_LABEL, SCRIBBLE

__all__ = ["command_started", "fit_epochs", "shared_out"]

logger = logging.getLogger(__name__)

_EPOCHS = 12  # at least, so that warm-up and schedule have steps to be in
_VALIDATIONS = 5  # at most
_SHARE = 0.2  # of the time, for validation
_STEPS = 4  # that are measured, behind a first one, which compiles
_METRICS = 1.3  # of a validation's time in the network, what it takes all in all


def command_started() -> float:
    """``time.monotonic()`` at the start of ``python -m monai.bundle run …``, whose imports take a while; else now."""
    now = time.monotonic()
    try:
        ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # since the machine started
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError):  # other systems than Linux
        return now
    return now - age if is_bundle_run(sys.argv) else now


def fit_epochs(argv: Sequence[str] | None = None) -> None:
    """Replace ``epochs``, ``epoch_length`` and ``val_interval`` by what ends in time, if there are ``minutes``.

    They count from ``started``; what a run in ``output_dir`` has spent already counts, too. An expression calls this,
    before anything that depends on the three. ``output_dir/budget.json`` has them for
    :py:class:`medwsss.handlers.TimeBudget`, which holds training to the time, and for a run that goes on.

    Args:
        argv: the command's ``sys.argv`` (default).

    Raises:
        ValueError: where there are epochs as well, where labels are solved in whole volumes, whose time is not measured
            by a step, and where the time is too short.
    """
    parser = running_parser()
    if (minutes := parser.get_parsed_content("minutes")) is None:
        return
    if "epochs" in typed_options(sys.argv if argv is None else argv):
        raise ValueError("expected --minutes or --epochs, got both")
    if parser.get_parsed_content("labels") == "volume":
        raise ValueError("expected --epochs with --labels volume: solving whole volumes is no matter of steps")
    output = Path(parser.get_parsed_content("output_dir"))
    path, goes_on = output / BUDGET, any((output / "checkpoints").glob("checkpoint_epoch=*.pt"))
    if goes_on and path.is_file():
        found = read_json(path, "the time of a run")
        found["epochs"] = max(round(found["epochs"] * minutes / found["minutes"]), 1)
        found["minutes"] = minutes
        logger.info("%.3g of %.3g minutes were spent already.", found["spent"] / 60, minutes)
    else:
        found = _first(parser, minutes)
    found = _of_rank_0(found)
    if parser.get_parsed_content("rank") == 0:
        write_json(found, path)
    names = ("epochs", "epoch_length", "val_interval")
    for name in names:
        parser.get()[name] = parser.ref_resolver.resolved_content[name] = found[name]
    parser.ref_resolver.remove_resolved_content("warmup_epochs")  # some say "@epochs"
    said = " ".join(f"--{name} {found[name]}" for name in names)
    logger.info("For %.3g minutes, with %.3g s a step: %s.", minutes, found["step"], said)


def shared_out(seconds: float, step: float, validation: float, longest: int) -> tuple[int, int, int]:
    """Epochs, iterations of an epoch, and epochs from one validation to the next.

    Args:
        seconds: that are left.
        step: seconds an iteration.
        validation: seconds a validation; 0 where there is none.
        longest: iterations of an epoch, at most.

    Raises:
        ValueError: where there is hardly time for anything.

    Example:
        >>> shared_out(600, 0.5, 12, longest=100)  # 5 validations, 60 s; 1,080 steps
        (12, 90, 3)
    """
    validations = min(max(int(_SHARE * seconds / validation), 1), _VALIDATIONS) if validation else 1
    steps = int((seconds - validations * validation) / step)
    if steps < _EPOCHS:
        raise ValueError(
            f"expected minutes for {_EPOCHS} steps at least, got {max(seconds, 0):.0f} s for steps of {step:.2g} s and "
            f"a validation of {validation:.0f} s: raise --minutes"
        )
    length = min(steps // _EPOCHS, longest)
    epochs = round(steps / length)
    return epochs, length, -(-epochs // validations)


def _first(parser: ConfigParser, minutes: float) -> dict[str, Any]:
    """What a run that begins is given."""
    loader, cases = (parser.get_parsed_content(name) for name in ("train#dataloader", "val_items"))
    with _random_states_kept():
        network = copy.deepcopy(parser.get_parsed_content("network"))
        step = _step_time(parser, network, loader, 0.1 * 60 * minutes)
        validation = _validation_time(parser, network) * len(cases) if cases else 0.0
    left = 60 * minutes - (time.monotonic() - parser.get_parsed_content("started"))
    epochs, length, interval = shared_out(left, step, validation, len(loader))
    plan = {"minutes": minutes, "epochs": epochs, "epoch_length": length, "val_interval": interval}
    return {**plan, "spent": 0.0, "step": step, "validation": validation}


def _step_time(parser: ConfigParser, network: torch.nn.Module, loader: Any, most: float) -> float:
    """Seconds of an iteration on average, those of the warm-up among them; gradients are all that is left of it."""
    probe = ConfigParser(dict(parser.get()))  # nobody is to hear of the epochs that there are without minutes
    share = 1 - min(probe.get_parsed_content("warmup_epochs") / probe.get_parsed_content("epochs"), 1)
    names = ("device", "amp", "loss", "solver", "train#trainer#prepare_batch")
    device, amp, loss, solver, prepare = (parser.get_parsed_content(name) for name in names)
    device, batches = torch.device(device), chain.from_iterable(repeat(loader))
    times: list[float] = []
    network.train()
    while len(times) < 2 or len(times) <= _STEPS and sum(times) < most:
        start = time.monotonic()
        image, targets = prepare(next(batches), device)
        with torch.autocast(device.type, enabled=bool(amp)):
            logits = network(image)
            if isinstance(logits, dict):  # of several heads, which a handler takes apart
                targets |= logits
                logits = logits[LOGITS]
            solving = _now(device)
            if share:
                targets[PSEUDO_LABEL] = solver(logits.detach(), targets[GUIDE], targets[SCRIBBLE]).labels
            solved = _now(device)
            loss(logits, targets).backward()
        times.append(_now(device) - start - (1 - share) * (solved - solving))
    return float(np.mean(times[1:]))


def _validation_time(parser: ConfigParser, network: torch.nn.Module) -> float:
    """Seconds for a case."""
    dataset, inferer, device = (
        parser.get_parsed_content(name) for name in ("validate#dataset", "validate#inferer", "device")
    )
    device = torch.device(device)
    network.eval()
    start = time.monotonic()
    with torch.no_grad():
        inferer(torch.as_tensor(dataset[0][IMAGE])[None].to(device), network)
    return _METRICS * (_now(device) - start)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """What is measured draws no number that training would."""
    python, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(arrays)


def _of_rank_0(content: dict[str, Any]) -> dict[str, Any]:
    """One answer for all processes, each of which has measured."""
    if not distributed.is_available() or not distributed.is_initialized():
        return content
    several = [content]
    distributed.broadcast_object_list(several)
    return several[0]
