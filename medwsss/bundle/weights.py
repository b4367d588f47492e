# SPDX-License-Identifier: Apache-2.0
"""Trained weights in the network they are of, or a word on which override would make the network theirs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from monai.config import PathLike
from torch import Tensor
from torch.nn import Module

from medwsss.files import bare, load_verified

__all__ = ["load_weights"]

Network = TypeVar("Network", bound=Module)
State = Mapping[str, Tensor]


def load_weights(network: Network, path: PathLike) -> Network:
    """The network, with the weights of a file: a state dict (``model.pt``), or a checkpoint with one as ``network``.

    Raises:
        ValueError: naming the file, where there is none, where it is damaged or something else, and where its weights
            are of another network: with the overrides that would make it this one.
    """
    own = bare(network)  # as files have it, whatever the number of processes
    path = Path(str(path))
    if not path.is_file():
        raise ValueError(
            f"expected the weights of a trained network (--model_file), got no file {path}; training writes model.pt "
            "in its output_dir"
        )
    try:
        content = load_verified(path)
    except Exception as error:  # zip, pickle and I/O each fail in their own way
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"expected weights that training wrote, got {type(error).__name__} in {path}: {reason}"
        ) from error
    state = content.get("network", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"expected weights that training wrote, got something else in {path}")
    if problem := _difference(own.state_dict(), state):
        raise ValueError(f"expected the weights of this network, got {problem} in {path}")
    if bad := [name for name, value in state.items() if not value.isfinite().all()]:
        raise ValueError(f"expected finite weights, got NaN or infinity in {bad[0]} of {path}")
    own.load_state_dict(state)
    return network


def _difference(own: State, other: State) -> str | None:
    """What keeps ``other`` out of ``own``, and what would help."""
    odd = [name for name in own if name not in other or own[name].shape != other[name].shape]
    if not odd and own.keys() == other.keys():
        return None
    hints = _hints(own, other) or ["the overlay, --channels, --strides or --backbone of its training"]
    name = next(iter(odd or sorted(other.keys() - own.keys())))
    got, expected = (tuple(state[name].shape) if name in state else "nothing" for state in (other, own))
    return f"others ({name}: {got} for {expected}; they take {' '.join(hints)})"


def _hints(own: State, other: State) -> list[str]:
    """Overrides that make the first convolution, which sees the image, and the last bias, one number a class, fit."""
    first = next((name for name, value in own.items() if value.ndim >= 4), None)
    last = list(own)[-1]
    if own.keys() != other.keys() or first is None:
        return []
    if own[first].ndim != other[first].ndim:
        return [f"--spatial_dims {other[first].ndim - 2}"]
    hints = []
    if own[first].shape[0] == other[first].shape[0] and own[first].shape[1] != other[first].shape[1]:
        hints.append(f"--in_channels {other[first].shape[1]}")
    if own[last].shape != other[last].shape:
        hints.append(f"--num_classes {len(other[last])}")
    return hints
