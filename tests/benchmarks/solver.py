# SPDX-License-Identifier: Apache-2.0
"""Time until the energy is at or below that of the paper's solver, in one run on one machine.

    python -m tests.benchmarks [--quick] [--threads 2] [--problems NAME …] [--cross-entropies collision_cross_entropy …]

The baseline is Appendix A as one writes it in PyTorch: autograd, softmax, 200 steps of 0.075. Both times include what
comes before the first step (softmax, contrast weights). Writes ``output/benchmarks/solver.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from medwsss.solvers import NaturalGradient
from medwsss.terms import SelfLabelingEnergy
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS
from tests.benchmarks.problems import PROBLEMS, STUDIES, Problem, mosaic
from tests.benchmarks.report import machine, now, save, table

COLUMNS = {
    "problem": "problem",
    "relaxation": "relaxation",
    "cross_entropy": "unary",
    "baseline_seconds": "200 autograd steps, s",
    "seconds": "as low, s",
    "steps": "steps",
    "speedup": "faster",
    "baseline_energy": "their energy",
    "energy": "energy by default",
    "default_steps": "steps",
    "default_seconds": "s",
}


def baseline(energy: SelfLabelingEnergy, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """``E`` of each sample after 200 steps of gradient descent by autograd."""
    problem = energy.bind(*inputs)
    logits = problem.logits.clone().requires_grad_()
    for _ in range(200):
        (slope,) = torch.autograd.grad(problem.value(problem.reset(logits.softmax(1))).sum(), logits)
        with torch.no_grad():
            logits -= 0.075 * slope
    return problem.value(problem.reset(logits.detach().softmax(1)))


def compare(problem: Problem, cross_entropy: str, relaxation: str) -> dict[str, Any]:
    """One row: the baseline, the time to its energy, and the default solve."""
    energy, inputs = SelfLabelingEnergy(cross_entropy, relaxation, problem.neighborhood), tuple(problem[:3])
    begin = now()
    target = baseline(energy, inputs)
    baseline_seconds = now() - begin
    begin = now()
    solution = NaturalGradient(energy)(*inputs)
    default_seconds = now() - begin
    reached = (solution.energy <= target).all(1).nonzero()
    steps = max(1, int(reached[0])) if len(reached) else None  # no solve takes fewer, low as its start may be
    seconds = float("nan")
    if steps:
        times = []
        for _ in range(3):
            begin = now()
            NaturalGradient(energy, max_steps=steps, tolerance=0)(*inputs)
            times.append(now() - begin)
        seconds = median(times)
    return {
        "cross_entropy": cross_entropy,
        "relaxation": relaxation,
        "baseline_seconds": baseline_seconds,
        "seconds": seconds,
        "steps": steps,
        "speedup": baseline_seconds / seconds,
        "baseline_energy": float(target.sum()),
        "energy": float(solution.energy[-1].sum()),
        "below_in_every_sample": bool((solution.energy[-1] <= target).all()),
        "default_steps": solution.steps,
        "default_seconds": default_seconds,
    }


def write(name: str, report: dict[str, Any]) -> str:
    """The report so far, so that a run that is stopped leaves what it measured."""
    speedups = [row["speedup"] for row in report["rows"]] or [float("nan")]
    report |= {"median": median(speedups), "least": min(speedups)}
    text = [f"faster: median {report['median']:.0f}, least {report['least']:.0f}"]
    text += [f"the first solve of all: {report['first_call_seconds']:.1f} s"]
    return save(name, report, table(report["rows"], COLUMNS), *text, *(f"skipped: {t}" for t in report["skipped"]))


def measure(
    name: str, problems: Sequence[str], cross_entropies: Sequence[str], relaxations: Sequence[str], device: str = "cpu"
) -> str:
    """All rows of a table; returns its text."""

    def on_device(problem: Problem) -> Problem:
        return Problem(*(x.to(device) for x in problem[:3]), problem.neighborhood)

    begin = now()
    NaturalGradient(SelfLabelingEnergy())(*on_device(mosaic(1, 3, (8, 8)))[:3])
    report: dict[str, Any] = {"machine": machine(), "first_call_seconds": now() - begin, "rows": [], "skipped": []}
    for title in problems:
        try:
            problem = on_device((PROBLEMS | STUDIES)[title]())
        except (FileNotFoundError, ImportError) as error:
            report["skipped"].append(f"{title}: {error}")
            continue
        for cross_entropy in cross_entropies:
            for relaxation in relaxations:
                row = {"problem": title, **compare(problem, cross_entropy, relaxation)}
                report["rows"].append(row)
                print(f"{title} {cross_entropy} {relaxation}: {row['speedup']:.0f} times", flush=True)
                write(name, report)
    return write(name, report)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two relaxations on the first problem")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=[*PROBLEMS, *STUDIES], metavar="NAME")
    parser.add_argument("--cross-entropies", nargs="+", default=["collision_cross_entropy"], choices=CROSS_ENTROPIES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    problems = arguments.problems[: 1 if arguments.quick else None]
    relaxations = ["quadratic", "collision_divergence"] if arguments.quick else list(RELAXATIONS)
    print(measure("solver", problems, arguments.cross_entropies, relaxations))


if __name__ == "__main__":
    main()
