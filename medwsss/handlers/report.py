# SPDX-License-Identifier: Apache-2.0
"""The last thing one sees of a run: how good it got, class by class, and where its files are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Workflow
from torch import Tensor

from medwsss.files import write_json
from medwsss.handlers.diagnostics import PseudoLabelDiagnostics

__all__ = ["ReportHandler"]

METRICS = {"Dice": "val_mean_dice", "HD95 (mm)": "val_hd95"}
FILES = {
    "best model": "model.pt",
    "checkpoints": "checkpoints/*",
    "TensorBoard": "tensorboard",
    "pictures": "pictures",
}


class ReportHandler:
    """Prints the best epoch's validation figures when a run ends, and writes them to ``output_dir/report.json``.

    A figure is the mean over cases of what a metric says of one class, taken from ``validator.state.metric_details``,
    which MONAI's ``IgniteMetricHandler`` fills by itself. Cases where it is NaN are left out, and the row "mean" is the
    mean over classes. Give the handler the metrics of :mod:`medwsss.metrics`, not MONAI's own handlers:
    ``HausdorffDistance`` never passes the voxel spacing on, so its distances are in voxels, and one missed class makes
    every mean infinite; ``MeanDice`` leaves out a case where a class was predicted that is not there.

    The best epoch is the validator's (``state.best_metric_epoch``, by key metric). With this handler, and with
    :class:`~medwsss.handlers.BestModel`, in the checkpoint the best figures outlive a resume, and a finished run that
    is started again prints them again.

    Attach it to the trainer, or to an evaluator alone. The file also has the figures of each case (cases × classes, in
    the validator's order) and, given ``diagnostics``, how self-labeling went in the last epoch, with advice if it could
    go better.

    Args:
        output_dir: the run's folder.
        validator: evaluator to watch; by default the engine attached to.
        class_names: one for each class; background comes first and is left out where the metrics leave it out.
            By default classes have numbers.
        metrics: column title to name of the metric.
        files: title to glob pattern inside ``output_dir``; what exists is listed.
        diagnostics: of the trainer.
        validated_on: "masks", or what else the figures are of: "strokes" or "held-out strokes", of which they are
            agreement and no score of masks, or "nothing". Figures that need masks have no column then.
        outlook: what a longer training would bring, if that is known.
    """

    def __init__(
        self,
        output_dir: str | Path,
        validator: Workflow | None = None,
        class_names: Sequence[str] | None = None,
        metrics: Mapping[str, str] = METRICS,
        files: Mapping[str, str] = FILES,
        diagnostics: PseudoLabelDiagnostics | None = None,
        validated_on: str = "masks",
        outlook: str | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.validator = validator
        self.class_names = class_names and [str(name) for name in class_names]
        self.metrics = metrics
        self.files = files
        self.diagnostics = diagnostics or PseudoLabelDiagnostics()
        self.validated_on = validated_on
        self.outlook = outlook
        self.best: dict[str, Any] = {}
        self.logger = logging.getLogger(__name__)

    def attach(self, engine: Workflow) -> None:
        """Watch the validator, report when ``engine`` is done."""
        self.validator = self.validator or engine
        self.validator.add_event_handler(Events.COMPLETED, self.keep)
        engine.add_event_handler(Events.COMPLETED, self)

    def state_dict(self) -> dict[str, Any]:
        """Figures of the best epoch so far."""
        return dict(self.best)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the figures of an earlier run, under the classes' present names."""
        self.best = dict(state_dict)
        if self.best:
            cases = {title: torch.tensor(values, dtype=torch.float64) for title, values in self.best["cases"].items()}
            self.best["figures"] = {title: self._rows(values) for title, values in cases.items()}

    def keep(self, validator: Workflow) -> None:
        """Remember this validation if it is the best so far."""
        state = validator.state
        if state.best_metric_epoch == state.epoch:
            found, masks = state.metric_details, self.validated_on == "masks"
            details = {title: found[name] for title, name in self.metrics.items() if masks or name in found}
            rows = {title: self._rows(values) for title, values in details.items()}
            cases = {title: values.tolist() for title, values in details.items()}
            self.best = {"epoch": state.epoch, "figures": rows, "cases": cases}

    def _rows(self, details: Tensor) -> dict[str, float]:
        """Cases x classes to class name → figure."""
        values = details.double().nanmean(0)
        names = self.class_names or [f"class {k}" for k in range(1, len(values) + 1)]
        background = len(names) - len(values)
        if background not in (0, 1):
            raise ValueError(f"expected names of {len(values)} classes, with or without background, got {list(names)}")
        return dict(zip([*names[background:], "mean"], [*values.tolist(), values.nanmean().item()]))

    @idist.one_rank_only()
    def __call__(self, engine: Engine) -> None:
        """Print and write the report."""
        files = {
            title: [str(p) for p in sorted(self.output_dir.glob(pattern))] for title, pattern in self.files.items()
        }
        report = {
            "validated_on": self.validated_on,
            "best_epoch": self.best.get("epoch"),
            "validation": self.best.get("figures", {}),
            "cases": self.best.get("cases", {}),
            "last_epoch": self.diagnostics.figures,
            "advice": self.diagnostics.advice,
            "outlook": self.outlook,
            "files": files,
        }
        path = self.output_dir / "report.json"
        write_json(report, path)
        print("\n" + self._text(files), flush=True)
        self.logger.info("report: %s", path)

    def _text(self, files: Mapping[str, Sequence[str]]) -> str:
        ran = self.validator is not None and self.validator.state.iteration
        lines = [
            "Validation had nothing to measure: no class in truth or prediction." if ran else "No validation was run."
        ]
        if self.validated_on == "nothing":
            lines = ["No validation: the data list has no section for it; the model is that of the last epoch."]
        if self.best:
            figures = self.best["figures"]
            rows = list(next(iter(figures.values())))
            width = max(map(len, rows))
            widths = {title: max(12, len(title) + 2) for title in figures}
            lines = [
                f"{self._title()}, best epoch {self.best['epoch']}",
                " " * width + "".join(f"{title:>{wide}}" for title, wide in widths.items()),
            ]
            lines += [
                f"{row:{width}}"
                + "".join(f"{_number(figures[title].get(row, nan)):>{wide}}" for title, wide in widths.items())
                for row in rows
            ]
        if figures := self.diagnostics.figures:
            lines.append("last epoch: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        if advice := self.diagnostics.advice:
            lines.append(f"advice: {advice}")
        if self.outlook:
            lines.append(f"longer: {self.outlook}")
        return "\n".join(lines + [f"{title}: {', '.join(paths)}" for title, paths in files.items() if paths])

    def _title(self) -> str:
        if self.validated_on == "masks":
            return "Validation"
        return f"Agreement on {self.validated_on} (the strokes' voxels alone, no score of masks)"


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:.3f}"
