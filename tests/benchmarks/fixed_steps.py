# SPDX-License-Identifier: Apache-2.0
"""What a solve without its safeguard does to the energy: whether it ever rises, and where it ends.

    python -m tests.benchmarks.fixed_steps [--steps 30] [--eta 0.3] [--threads 2] [--problems NAME …]

Ratios are to the energy of as many steps with the safeguard, stride 1.5 and momentum 0.6. Writes
``output/benchmarks/fixed_steps.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from medwsss.solvers import NaturalGradient
from medwsss.terms import SelfLabelingEnergy
from medwsss.terms.relaxations import RELAXATIONS
from tests.benchmarks.problems import PROBLEMS, STUDIES
from tests.benchmarks.report import machine, save, table

COLUMNS = {
    "problem": "problem",
    "relaxation": "relaxation",
    "stride": "stride",
    "momentum": "momentum",
    "rises": "rises",
    "greatest": "greatest, of the energy",
    "early": "energy after 8 steps",
    "end": "at the end",
}
SCHEDULES = ((1.5, 0.6), (1.0, 0.6), (1.0, 0.3))


def rows(name: str, eta: float, steps: int) -> list[dict[str, Any]]:
    """A problem's, for each relaxation and schedule; all samples of a batch together."""
    *inputs, neighborhood = (PROBLEMS | STUDIES)[name]()
    result = []
    for relaxation in RELAXATIONS:
        energy = SelfLabelingEnergy(relaxation=relaxation, neighborhood=neighborhood, eta=eta)
        guarded = NaturalGradient(energy, steps, tolerance=0)(*inputs).energy.sum(1)
        for stride, momentum in SCHEDULES:
            solver = NaturalGradient(energy, steps, 0, stride, momentum, safeguard=False)
            each = solver(*inputs).energy
            change, total = each.diff(dim=0) / each[:-1], each.sum(1)
            result.append(
                {
                    "problem": name,
                    "relaxation": relaxation,
                    "stride": stride,
                    "momentum": momentum,
                    "rises": int((change > 0).sum()),
                    "greatest": max(0.0, float(change.max())),
                    "early": float(total[min(8, steps)] / guarded[min(8, steps)]),
                    "end": float(total[-1] / guarded[-1]),
                }
            )
    return result


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--eta", type=float, default=0.3)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=[*PROBLEMS, *STUDIES], metavar="NAME")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = [row for name in arguments.problems for row in rows(name, arguments.eta, arguments.steps)]
    print(save("fixed_steps", {"machine": machine(), "rows": found}, table(found, COLUMNS)))


if __name__ == "__main__":
    main()
