# SPDX-License-Identifier: Apache-2.0
"""Solvers of the pseudo-label step, ``argmin_y E(y)`` for fixed predictions."""

from __future__ import annotations

from medwsss.solvers.base import Solution, Solver, Status
from medwsss.solvers.gradient_descent import GradientDescent
from medwsss.solvers.graph_cut import GraphCut
from medwsss.solvers.hard_labels import HardLabels
from medwsss.solvers.natural_gradient import NaturalGradient
from medwsss.solvers.random_walker import RandomWalker
from medwsss.solvers.spacing import with_spacing
from medwsss.solvers.strided import StridedSolver

__all__ = [
    "GradientDescent",
    "GraphCut",
    "HardLabels",
    "NaturalGradient",
    "RandomWalker",
    "Solution",
    "Solver",
    "Status",
    "StridedSolver",
    "with_spacing",
]
