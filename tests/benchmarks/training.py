# SPDX-License-Identifier: Apache-2.0
"""A training step with self-labeling against the same step on seeds alone, inside MONAI's trainer.

    python -m tests.benchmarks.training --threads 2

The bundle's own configurations and trainer; from iteration to iteration pseudo-labels are switched on and off, so that
drift of the machine meets both alike. A step is from ``ITERATION_STARTED`` to ``MODEL_COMPLETED``: batch to device,
forward, y-step, loss, backward, optimiser, without loading the data. Writes ``output/benchmarks/training.json`` and
``.md``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.engines.utils import IterationEvents
from torch import Tensor

from medwsss.experiments.data import bundle_files
from medwsss.handlers import PseudoLabelHandler
from medwsss.solvers import Solution
from tests.benchmarks.problems import DATA
from tests.benchmarks.report import machine, now, save, table

WARM_UP = 4  # iterations that are not counted: compilation, first memory
ACDC = {"dataset_dir": str(DATA / "acdc_mini")}
FEW = {"solver_steps": 3}  # coarse grids have done most of the work
CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "2-D ACDC": (["acdc"], ACDC),
    "2-D ACDC, 3 steps": (["acdc"], ACDC | FEW),
    "3-D default bundle": ([], {}),
    "3-D default bundle, 3 steps": ([], FEW),
}
COLUMNS = {
    "case": "configuration",
    "shape": "logits",
    "seeds_only": "seeds only, s",
    "self_labeling": "self-labeling, s",
    "ratio": "ratio",
    "y_step": "y-step, s",
    "solver_steps": "solver steps",
    "data": "loading a batch, s",
    "ratio_with_data": "ratio with loading",
    "iterations": "iterations each",
}


class Clock:
    """Switches pseudo-labels on in every other iteration and times all.

    Args:
        pseudo_labels: the trainer's handler.
        iterations: of each kind.
    """

    def __init__(self, pseudo_labels: PseudoLabelHandler, iterations: int) -> None:
        self.pseudo_labels = pseudo_labels
        self.last = WARM_UP + 2 * iterations
        self.shape: tuple[int, ...] = ()
        self.steps: dict[bool, list[float]] = {False: [], True: []}
        self.solves: list[float] = []
        self.solver_steps: list[int] = []
        self.loads: list[float] = []
        self.solver, pseudo_labels.solver = pseudo_labels.solver, self.solve  # type: ignore[assignment]

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.GET_BATCH_STARTED, self.load)
        engine.add_event_handler(Events.ITERATION_STARTED, self.start)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self.stop)

    def load(self, engine: Engine) -> None:
        self.begin = now()

    def start(self, engine: Engine) -> None:
        self.pseudo_labels.active = engine.state.iteration % 2 == 0
        self.loaded = now()

    def solve(self, logits: Tensor, guide: Tensor, scribble: Tensor) -> Solution:
        begin = now()
        solution = self.solver(logits, guide, scribble)
        self.solves.append(now() - begin)
        self.solver_steps.append(solution.steps)
        self.shape = tuple(solution.labels.shape)
        return solution

    def stop(self, engine: Engine) -> None:
        self.steps[self.pseudo_labels.active].append(now() - self.loaded)
        self.loads.append(self.loaded - self.begin)
        if engine.state.iteration >= self.last:
            engine.terminate()

    def row(self) -> dict[str, Any]:
        """The figures, medians over iterations."""
        half = WARM_UP // 2
        seeds_only, self_labeling = (median(self.steps[kind][half:]) for kind in (False, True))
        data = median(self.loads[WARM_UP:])
        return {
            "shape": "×".join(map(str, self.shape)),
            "seeds_only": seeds_only,
            "self_labeling": self_labeling,
            "ratio": self_labeling / seeds_only,
            "y_step": median(self.solves[half:]),
            "solver_steps": median(self.solver_steps[half:]),
            "data": data,
            "ratio_with_data": (self_labeling + data) / (seeds_only + data),
            "iterations": len(self.steps[True]) - half,
        }


def measure(overlays: list[str], overrides: dict[str, Any], iterations: int) -> dict[str, Any]:
    """One configuration's figures."""
    with tempfile.TemporaryDirectory() as folder:
        never: dict[str, Any] = {"val_interval": 10**6, "epochs": 10**6, "output_dir": folder}
        config = bundle_files("scribble", overlays)
        flow = ConfigWorkflow(config, workflow_type="train", logging_file=False, **never, **overrides)
        flow.initialize()
        trainer = flow.parser.get_parsed_content("train#trainer")
        clock = Clock(flow.parser.get_parsed_content("pseudo_labels"), iterations)
        clock.attach(trainer)
        trainer.run()
        flow.finalize()
    return clock.row()


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=40, help="of each kind")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {"machine": machine(), "rows": []}
    for case in arguments.cases:
        overlays, overrides = CASES[case]
        if not Path(overrides.get("dataset_dir", ".")).exists():
            parser.error(f"expected data in {overrides['dataset_dir']}")
        report["rows"].append({"case": case, **measure(overlays, overrides, arguments.iterations)})
    print(save("training", report, table(report["rows"], COLUMNS)))


if __name__ == "__main__":
    main()
