# SPDX-License-Identifier: Apache-2.0
"""The compiled logarithm and power against NumPy in double precision, over all that the kernel can ask of them."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from medwsss.solvers import limits
from medwsss.solvers.compiled import arithmetic

MANTISSAS = np.arange(1 << 23, 1 << 24, 37, dtype=np.float64) / (1 << 23)  # of an octave, an odd stride through all


@njit(fastmath=set(arithmetic.FASTMATH), error_model="numpy")
def powers(x: np.ndarray, out: np.ndarray) -> None:
    """As in the kernel: a loop that becomes vectors."""
    for i in range(len(x)):
        out[i] = arithmetic.exp2(x[i])


@njit(fastmath=set(arithmetic.FASTMATH), error_model="numpy")
def logarithms(p: np.ndarray, q: np.ndarray, out: np.ndarray) -> None:
    """As in the kernel."""
    for i in range(len(p)):
        out[i] = arithmetic.log2_ratio(p[i], q[i])


@njit(fastmath=set(arithmetic.FASTMATH), error_model="numpy")
def safe_logarithms(x: np.ndarray, eps: np.float32, out: np.ndarray) -> None:
    """As in the kernel."""
    for i in range(len(x)):
        out[i] = arithmetic.safe_log(x[i], eps)


def singles(*values: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(value, np.float32) for value in values]


def log2_ratio(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is computed, and what is right."""
    p, q = singles(p, q)
    out = np.empty_like(p)
    logarithms(p, q, out)
    return out.astype(float), np.log2(p.astype(float)) - np.log2(q.astype(float))


def test_powers() -> None:
    (x,) = singles(np.concatenate([np.linspace(-126, 126, 1_000_003), np.geomspace(1e-30, 1), -np.geomspace(1e-30, 1)]))
    out = np.empty_like(x)
    powers(x, out)
    assert abs(out / np.exp2(x.astype(float)) - 1).max() < 2e-7
    powers(np.zeros_like(x), out)
    assert (out == 1).all()


def test_logarithms_near_one() -> None:
    """Where a class hardly moves: momentum lives on small relative changes, so the error is relative."""
    q = MANTISSAS
    for change in (2.0**-23, 1e-6, 1e-4, 1e-2, 0.2, 0.4):
        for p in (q * (1 + change), q / (1 + change)):
            found, expected = log2_ratio(p, q)
            moved = expected != 0  # in single precision
            assert abs(found[moved] / expected[moved] - 1).max() < 6e-7
    assert (log2_ratio(q, q)[0] == 0).all()


def test_logarithms_of_all_labels() -> None:
    exponents = np.arange(np.floor(np.log2(limits.LABEL_FLOOR)), 1)
    p = (MANTISSAS[:2000, None] * 2.0**exponents).ravel()
    for q in (p[::-1], np.roll(p, 777), np.full_like(p, limits.LABEL_FLOOR), np.ones_like(p)):
        found, expected = log2_ratio(p, q)
        assert (abs(found - expected) <= 6e-7 * abs(expected)).all()


@pytest.mark.parametrize("eps", [1e-30, 2e-6])
def test_safe_logarithms(eps: float) -> None:
    (x,) = singles(np.concatenate([[0], np.geomspace(1.2e-38, 1e37, 100_003), np.linspace(0.5, 2, 100_003)]))
    (least,) = singles(np.array([eps]))
    out = np.empty_like(x)
    safe_logarithms(x, least[0], out)
    value, edge = x.astype(float), float(least[0])
    expected = np.where(value < edge, np.log(edge) - 1 + value / edge, np.log(np.maximum(value, edge)))
    assert (abs(out - expected) <= 6e-7 * abs(expected)).all()
