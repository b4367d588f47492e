# SPDX-License-Identifier: Apache-2.0
"""Would V-cycles let a solve converge? Energy above the converged one by looks at ``y``, beside the solver's.

    python -m tests.benchmarks.v_cycles --studies Hippocampus "ACDC 3-D"

The solver is measured from three coarser grids, as it comes, and from five with 20 steps on each, as in the bundles:
energy after so many looks, looks until it is within 1e-3 of the converged one (of 400), the seconds that they take with
the coarser grids, and the share of voxels that are then in another class than when converged.

A prototype in PyTorch's kernels, of the full approximation scheme: after some steps on a grid, the same energy for
labels of cells (:func:`~medwsss.solvers.coarse.coarsened`), tilted by a linear term ``τ·Y`` so that it has the finer
grid's gradient at ``Y``, takes as many steps from the cells' mean labels, itself with a V-cycle below. What that
changes ``ln Y`` by is interpolated, added to ``ln y`` in whole or a quarter, and kept for samples whose energy it
lowers. Steps are those of :class:`~medwsss.solvers.NaturalGradient`, stride and momentum included, without its
safeguard. Converged is the lowest of 1,500 steps from five grids. Looks are those of the full grid, the energies of
corrections included; a cycle's coarser grids cost about 3 more in 2-D and 1.5 in 3-D. Writes
``output/benchmarks/v_cycles.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from medwsss.solvers import NaturalGradient
from medwsss.solvers.cells import interpolated, means
from medwsss.solvers.coarse import can_coarsen, cell, coarsened
from medwsss.solvers.limits import LABEL_FLOOR
from medwsss.solvers.mirror_step import PlainStep, per_sample
from medwsss.terms import BoundEnergy, SelfLabelingEnergy
from medwsss.terms.simplex import unlabeled_mask
from tests.benchmarks.problems import PROBLEMS, STUDIES
from tests.benchmarks.report import machine, save, table

STEPS, COARSEST = 4, 20  # before a correction and after it; on the coarsest grid
STRIDE, MOMENTUM = 1.5, 0.6
LEVELS, CYCLES = 5, 6
FARTHEST = 3.0  # that a correction changes ln y
SHARES = (1.0, 0.25)  # of it that are tried
AT = (12, 36, 72)  # looks in the table
CLOSE, MOST = 1e-3, 400  # to the converged energy, and in so many looks


class Tilted:
    """``E(y) + τ·y``, for :class:`PlainStep`."""

    def __init__(self, problem: BoundEnergy, tilt: Tensor) -> None:
        self.problem, self.tilt, self.reset = problem, tilt, problem.reset

    def value(self, y: Tensor) -> Tensor:
        """As :meth:`BoundEnergy.value`."""
        return self.problem.value(y) + (self.tilt * y).flatten(1).sum(1)

    def model(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`BoundEnergy.model`; a linear term curves nothing."""
        value, gradient, curvature = self.problem.model(y)
        return value + (self.tilt * y).flatten(1).sum(1), gradient + self.tilt, curvature


class Grid:
    """One grid: its energy, and how often it was looked at."""

    def __init__(self, problem: BoundEnergy, size: Sequence[int] = ()) -> None:
        self.problem, self.size, self.looks = problem, size, 0

    def value(self, y: Tensor, tilt: Tensor) -> Tensor:
        """``E(y) + τ·y``."""
        self.looks += 1
        return Tilted(self.problem, tilt).value(y)

    def moved(self, y: Tensor, change: Tensor) -> Tensor:
        """``softmax(ln y + change)``, seeds and void voxels as they are."""
        grown = y.clamp_min(LABEL_FLOOR) * change.exp()
        return self.problem.reset((grown / grown.sum(1, keepdim=True)).clamp_min(LABEL_FLOOR))

    def steps(self, y: Tensor, previous: Tensor, tilt: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """So many steps; the last two ``y``."""
        look, stride = PlainStep(cast(Any, Tilted(self.problem, tilt))), y.new_full((len(y),), STRIDE)
        for _ in range(count):
            self.looks += 1
            following = look(y, previous, stride, MOMENTUM)[1]
            previous, y = y, following
        return y, previous


def v_cycle(grids: Sequence[Grid], y: Tensor, previous: Tensor, tilt: Tensor) -> tuple[Tensor, Tensor]:
    """Steps, a correction from coarser grids, steps; the last two ``y``, with whose momentum the next one begins."""
    grid, *coarser = grids
    if not coarser:
        return grid.steps(y, previous, tilt, COARSEST)
    y, previous = grid.steps(y, previous, tilt, STEPS)
    grid.looks += 1
    gradient = grid.problem.model(y)[1] + tilt
    below, size = coarser[0], coarser[0].size
    start = below.problem.reset(means(y, size))
    slope = means(gradient * grid.problem.free, size) - below.problem.model(start)[1]
    end, _ = v_cycle(coarser, start, start, slope)
    change = (end.clamp_min(LABEL_FLOOR).log() - start.clamp_min(LABEL_FLOOR).log()).clamp(-FARTHEST, FARTHEST)
    change = interpolated(change * below.problem.free, size, y.shape[2:])
    best, corrected = grid.value(y, tilt), y
    for share in SHARES:
        tried = grid.moved(y, share * change)
        energy = grid.value(tried, tilt)
        lower = per_sample(energy < best, y)
        corrected = torch.where(lower, tried, corrected)
        best = torch.minimum(energy, best)
    return grid.steps(corrected, corrected, tilt, STEPS)


def grids_of(problem: BoundEnergy) -> list[Grid]:
    """The grid itself and coarser ones."""
    grids = [Grid(problem)]
    while len(grids) <= LEVELS and can_coarsen(grids[-1].problem):
        finer = grids[-1].problem
        grids.append(Grid(coarsened(finer), cell(finer)))
    return grids


def excess(energies: Sequence[tuple[int, float]], lowest: float) -> dict[str, Any]:
    """Energy above the converged one, as a share of it, after the last look up to :data:`AT`; looks until close."""
    close = (looks for looks, energy in energies if energy <= lowest * (1 + CLOSE))
    after = {f"{at}": min(e for looks, e in energies if looks <= at) / lowest - 1 for at in AT}
    return {**after, "close": next(close, None)}


@torch.no_grad()
def measure(study: str, eta: float) -> list[dict[str, Any]]:
    """The solver from three and from five grids, and V-cycles, from one start."""
    logits, guide, scribble, neighborhood = (PROBLEMS | STUDIES)[study]()
    inputs = logits.float(), guide.float(), scribble
    energy = SelfLabelingEnergy(relaxation="log_quadratic", neighborhood=neighborhood, eta=eta)
    bundle = {"levels": LEVELS, "coarse_steps": COARSEST}
    converged = NaturalGradient(energy, 1500, tolerance=1e-9, levels=LEVELS, coarse_steps=2 * COARSEST)(*inputs)
    lowest = converged.energy[-1].sum().item()
    rows = []
    for name, how in {"three grids": {}, "five grids": bundle}.items():
        energies = NaturalGradient(energy, MOST, tolerance=0, **how)(*inputs).energy.sum(1)
        row = excess(list(enumerate(energies.tolist())), lowest)
        begin = time.perf_counter()
        close = NaturalGradient(energy, row["close"] or MOST, tolerance=0, **how)(*inputs).labels
        row["seconds"] = time.perf_counter() - begin
        differ = (close.argmax(1) != converged.labels.argmax(1))[unlabeled_mask(scribble).squeeze(1)]
        rows.append({"solver": name, **row, "differ": differ.float().mean().item()})
    grids, y = grids_of(energy.bind(*inputs)), NaturalGradient(energy, 1, tolerance=0, stride=1e-3)(*inputs).labels
    cycled, previous = [(0, grids[0].problem.value(y).sum().item())], y
    for _ in range(CYCLES):
        y, previous = v_cycle(grids, y, previous, torch.zeros_like(y))
        cycled.append((grids[0].looks, grids[0].problem.value(y).sum().item()))
    rows.append({"solver": "V-cycles", **excess(cycled, lowest), "seconds": None, "differ": None})
    return [{"study": study, "eta": eta, **row} for row in rows]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", nargs="+", choices=[*PROBLEMS, *STUDIES], default=list(STUDIES), metavar="NAME")
    parser.add_argument("--eta", type=float, nargs="+", default=[0.005, 0.1])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [row for study in arguments.studies for eta in arguments.eta for row in measure(study, eta)]
    titles = {"study": "study", "eta": "η", "solver": "solver", **{f"{at}": f"after {at} looks" for at in AT}}
    titles |= {"close": f"looks to {CLOSE:g}", "seconds": "s", "differ": "of another class then"}
    cells = [{key: "–" if value is None else value for key, value in row.items()} for row in rows]
    print(save("v_cycles", {"machine": machine(), "rows": rows}, table(cells, titles)))


if __name__ == "__main__":
    main()
