# SPDX-License-Identifier: Apache-2.0
"""What a resumed run takes from its checkpoint and what from the command, and words for what differs.

=====================  ===============================================================================================
from the checkpoint    network weights, the optimizer's moments, the epoch, ``GradScaler``, the state of handlers
from the command       everything else: the optimizer's and the schedule's settings, data, batches, losses, seed
=====================  ===============================================================================================

A setting that nobody changed goes on at the value that training has brought it to (a decayed learning rate, say), and
a resume where none was changed is bit-equal to an unbroken run. Where one was, the schedule is gone through anew up to
the present epoch, so that the rate is what it would be had the run had these settings from its start.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

__all__ = ["differences", "hyperparameters", "load_objects"]

_SHOWN = 70  # characters of a value
# where a schedule is, as opposed to what it is
_POSITION = {"last_epoch", "_step_count", "_last_lr", "_is_initial", "_get_lr_called_within_step", "verbose"}
_NONE: Any = object()


def differences(then: Any, now: Any, name: str = "") -> Iterator[str]:
    """A text for every entry of two nested settings that differs, by its id.

    Example:
        >>> list(differences({"epochs": 2, "loss": {"eta": 1.0}}, {"epochs": 4, "loss": {"eta": 1.0}, "seed": 1}))
        ['epochs was 2, is 4', 'seed was not given, is 1']
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in {**then, **now}:
            yield from differences(then.get(key, _NONE), now.get(key, _NONE), f"{name}#{key}" if name else str(key))
    elif _nested(then) and _nested(now) and len(then) == len(now):
        for index, pair in enumerate(zip(then, now)):
            yield from differences(*pair, f"{name}#{index}")
    elif then != now:
        yield f"{name} was {_text(then)}, is {_text(now)}"


def _nested(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(each, (Mapping, list, tuple)) for each in value)


def _text(value: Any) -> str:
    text = "not given" if value is _NONE else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def hyperparameters(objects: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What optimizers and schedules among ``objects`` are, by name; before training, that is what the command says."""
    found: dict[str, dict[str, Any]] = {}
    for name, obj in objects.items():
        if isinstance(obj, Optimizer):
            found[name] = {"kind": type(obj).__name__, "groups": _groups(obj.state_dict())}
        elif isinstance(obj, LRScheduler):
            found[name] = {"kind": type(obj).__name__, **obj.state_dict()}
    return copy.deepcopy(found)


def _groups(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]]


def load_objects(
    objects: Mapping[str, Any], checkpoint: Mapping[str, Any], start: Mapping[str, Any], epoch_length: int
) -> list[str]:
    """Load the states of ``objects`` from a checkpoint, as far as they are not the command's to say.

    Args:
        objects: by name; one whose state the checkpoint lacks is left as it is.
        checkpoint: states by the same names, and ``trainer``.
        start: :func:`hyperparameters` before training.
        epoch_length: iterations of an epoch from now on. A schedule that goes on with every iteration is taken to the
            same epoch; where an epoch had one iteration, every schedule is taken for such a one.

    Returns:
        What has changed in the settings of optimizers and schedules.

    Raises:
        ValueError: naming the object that its state does not fit.
    """
    then = checkpoint["trainer"].get("hyperparameters") or _read_from_states(checkpoint, start)
    told = {name: list(differences(_constant(then[name]), _constant(now), name)) for name, now in start.items()}
    schedules = {name: obj for name, obj in objects.items() if isinstance(obj, LRScheduler)}
    for name, obj in objects.items():
        if isinstance(obj, Optimizer):
            told[name] += _load_optimizer(name, obj, checkpoint[name], then[name], start[name])
        elif name not in schedules and checkpoint.get(name):  # AMP may be new, or was without effect
            _load(name, obj, checkpoint[name])

    for name, optimizer in objects.items():  # their rates are the schedules' to set
        if isinstance(optimizer, Optimizer):
            own = {each: schedule for each, schedule in schedules.items() if schedule.optimizer is optimizer}
            steps = {each: _steps(checkpoint, each, epoch_length) for each in own}
            moved = any(checkpoint[each]["last_epoch"] != number for each, number in steps.items())
            anew = moved or any(told[each] for each in (name, *own))
            if own and anew:
                for group, settings in zip(optimizer.param_groups, start[name]["groups"]):
                    group.update(copy.deepcopy(settings))
            for each, schedule in own.items():
                if anew:
                    _replay(each, schedule, start[each], steps[each])
                else:
                    _load(each, schedule, checkpoint[each])
    return [text for texts in told.values() for text in texts]


def _load(name: str, obj: Any, state: Any) -> None:
    try:
        obj.load_state_dict(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"another {name}: {error}") from error


def _load_optimizer(
    name: str, optimizer: Optimizer, saved: Mapping[str, Any], then: Mapping[str, Any], now: Mapping[str, Any]
) -> list[str]:
    """Moments, and settings as they had become, apart from those that the command has changed."""
    if then["kind"] != now["kind"]:
        return [f"{name} starts without moments: those of {then['kind']} are not what {now['kind']} keeps"]
    groups = [dict(group) for group in saved["param_groups"]]
    for group, old, new in zip(groups, then["groups"], now["groups"]):
        group.update({key: value for key, value in new.items() if old.get(key, _NONE) != value})
    _load(name, optimizer, {**saved, "param_groups": groups})
    return []


def _steps(checkpoint: Mapping[str, Any], name: str, epoch_length: int) -> int:
    """How often a schedule has been stepped by the end of the checkpoint's epoch, had epochs had this length."""
    epoch, length = checkpoint["trainer"]["epoch"], checkpoint["trainer"]["epoch_length"]
    taken: int = checkpoint[name]["last_epoch"]
    return epoch * epoch_length if taken == epoch * (length or 0) else taken


def _replay(name: str, schedule: LRScheduler, start: Mapping[str, Any], steps: int) -> None:
    """Step a schedule from its start, as training would have: to the bit, where a closed form differs by rounding."""
    if isinstance(schedule, ReduceLROnPlateau):
        raise ValueError(f"other settings of {name}, whose rate past losses have led to")
    schedule.load_state_dict({key: value for key, value in copy.deepcopy(start).items() if key != "kind"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no optimizer steps in between
        for _ in range(steps):
            schedule.step()


def _read_from_states(checkpoint: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """:func:`hyperparameters` of a checkpoint that was written without, as far as states tell."""
    found = {}
    for name, now in start.items():
        found[name] = {"kind": now["kind"], **{key: value for key, value in checkpoint[name].items() if key in now}}
        if "groups" in now:
            groups = _groups(checkpoint[name])
            found[name]["groups"] = [{**group, "lr": group.get("initial_lr", group["lr"])} for group in groups]
    return found


def _constant(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _POSITION}
