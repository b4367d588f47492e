# SPDX-License-Identifier: Apache-2.0
"""The index of Appendix A's check, by hand; that its solvers approach the exact minimiser, and in which order."""

from __future__ import annotations

import pytest
import torch

from tests.benchmarks.agreement import compare, soft_jaccard, summary
from tests.benchmarks.problems import mosaic


def test_soft_jaccard_by_hand() -> None:
    y, exact = torch.tensor([[[0.5, 1.0], [0.5, 0.0]]]), torch.tensor([[[0.3, 0.8], [0.7, 0.2]]])
    # Σ min = 0.3 + 0.8 + 0.5 + 0 and Σ max = 0.5 + 1 + 0.7 + 0.2; Σ yy* = 1.3, Σ y² = 1.5, Σ y*² = 1.26
    together = y.flatten(1)[:, None], exact.flatten(1)[:, None]
    assert soft_jaccard(*together) == pytest.approx(1.6 / 2.4)
    assert soft_jaccard(*together, squared=True) == pytest.approx(1.3 / (1.5 + 1.26 - 1.3))
    assert soft_jaccard(y, exact) == pytest.approx((1.1 / 1.5 + 0.5 / 0.9) / 2)  # each class on its own
    assert soft_jaccard(y, y) == soft_jaccard(y, y, squared=True) == pytest.approx(1)


def test_solvers_approach_the_exact_minimiser() -> None:
    rows = compare(mosaic(batch=1, num_classes=4, size=(40, 40)), eta=0.3, lam=6.0, steps=50)
    index = [rows[name]["soft_jaccard"] for name in ("the network's", "GradientDescent", "NaturalGradient")]
    assert index == sorted(index) and 0.97 < index[-1] <= 1
    assert all(row["excess"] > 0 for row in rows.values())
    assert [row["labels"] for row in summary([rows, rows])] == list(rows)
    assert summary([rows, rows])[1]["mean"] == round(100 * index[1], 2)
