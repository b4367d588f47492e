# SPDX-License-Identifier: Apache-2.0
"""What an evaluation leaves: figures of each case, their summary, and a page."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.data import MetaTensor, decollate_batch
from monai.engines import Workflow
from monai.utils import CommonKeys, convert_to_numpy, string_list_all_gather
from torch import Tensor

from medwsss.files import write_json
from medwsss.handlers.case_slices import load_slices, save_slices, slices_of
from medwsss.handlers.environment import environment
from medwsss.handlers.label_quality import read_label_quality
from medwsss.metrics import calibration_error
from medwsss.reports.evaluation import chosen_cases, write_evaluation
from medwsss.reports.label_quality import NO_LABELS
from medwsss.reports.scores import Scores
from medwsss.reports.tables import interval

__all__ = ["EvaluationReport"]

CALIBRATION = {"all voxels": "val_calibration", "foreground": "val_foreground_calibration"}


class EvaluationReport:
    """Writes what a reader needs of an evaluation into ``output_dir``, whatever number of processes has run it.

    ================  ==================================================================================
    ``cases.csv``     all figures of each case and class
    ``summary.json``  means over patients with bootstrap intervals, reliability bins, environment, command
    ``report.html``   these, and the worst, the median and the best cases to look at
    ================  ==================================================================================

    Figures are those in ``state.metric_details``, cases × classes, as metrics of :mod:`medwsss.metrics` leave them. A
    figure of another number of rows is one of all cases, without an interval. In the course of an evaluation a case's
    worst slices lie in ``output_dir/.slices``.

    Args:
        output_dir: the evaluation's folder.
        class_names: one for each class, background first.
        metrics: title of a figure → name of the metric; those that the validator lacks are left out.
        key: title of the figure of each case, higher being better, by which cases are best and worst.
        patients: image file → patient; by default each case is a patient's.
        tensorboard: folder of the training's curves.
        label_quality: folder that a :class:`~medwsss.handlers.LabelQualityHandler` of the training wrote, if it did.
        setting: a run's configuration; the page has what it says in plain values.
        data: about the cases, for the page.
        notes: on the figures, for the page.
        validated_on: "masks", "strokes" or "held-out strokes".

    Raises:
        ValueError: where ``key`` is none of ``metrics``.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_names: Sequence[str],
        metrics: Mapping[str, str],
        key: str = "Dice",
        patients: Mapping[str, str] | None = None,
        tensorboard: str | Path | None = None,
        label_quality: str | Path | None = None,
        setting: Mapping[str, Any] | None = None,
        data: str = "",
        notes: str = "",
        validated_on: str = "masks",
    ) -> None:
        if key not in metrics:
            raise ValueError(f"expected a key figure among {list(metrics)}, got {key!r}")
        self.folder = Path(output_dir)
        self.class_names = tuple(map(str, class_names))
        self.metrics = dict(metrics)
        self.key = key
        self.patients = dict(patients or {})
        self.tensorboard = Path(tensorboard) if tensorboard is not None else None
        self.label_quality = Path(label_quality) if label_quality is not None else None
        self.setting = {name: str(value) for name, value in (setting or {}).items() if _is_plain(value)}
        self.data, self.notes = data, notes
        self.validated_on = validated_on
        self.images: list[str] = []
        self.logger = logging.getLogger(__name__)

    def attach(self, engine: Workflow) -> None:
        """Watch an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self)

    def start(self, engine: Workflow) -> None:
        """Forget an earlier evaluation."""
        self.images = []

    def collect(self, engine: Workflow) -> None:
        """Keep the names of a batch's cases, and their worst slices."""
        output = engine.state.output
        for item in decollate_batch(output) if isinstance(output, Mapping) else output:
            image = item[CommonKeys.IMAGE]
            meta = image.meta if isinstance(image, MetaTensor) else {}
            name = str(meta.get("filename_or_obj", f"case {len(self.images) + 1} of process {idist.get_rank()}"))
            self.images.append(name)
            save_slices(slices_of(image, pred=item[CommonKeys.PRED], truth=item[CommonKeys.LABEL]), self._slices(name))

    def _slices(self, image: str) -> Path:
        return self.folder / ".slices" / f"{sha256(image.encode()).hexdigest()[:16]}.npz"

    def __call__(self, engine: Workflow) -> None:
        """Write the files."""
        images = string_list_all_gather(self.images)
        if idist.get_rank() == 0:
            self._write(engine.state.metric_details, images)

    def _write(self, details: Mapping[str, Tensor], images: Sequence[str]) -> None:
        order = sorted(range(len(images)), key=images.__getitem__)  # the same on any number of processes
        images = [images[i] for i in order]
        scores = Scores(
            cases=_short(images),
            patients=[self.patients.get(image, image) for image in images],
            class_names=self.class_names,
            figures={title: _sorted(details[n], order) for title, n in self.metrics.items() if n in details},
        )
        rows = scores.summary()
        bins = {title: _sorted(details[name], order) for title, name in CALIBRATION.items() if name in details}
        errors = {title: _calibration_row(scores, title, sums) for title, sums in bins.items()}
        run = environment()
        scores.write_csv(self.folder / "cases.csv")
        summary = {
            "validated_on": self.validated_on,
            "cases": len(images),
            "patients": len(set(scores.patients)),
            "figures": rows,
            "calibration": [{**errors[title], "bins": sums.sum(0).tolist()} for title, sums in bins.items()],
            "environment": run,
        }
        write_json(summary, self.folder / "summary.json")
        shown = [(i, what, load_slices(self._slices(images[i]))) for i, what in chosen_cases(scores, self.key).items()]
        path = self.folder / "report.html"
        write_evaluation(
            path=path,
            title=f"Evaluation of {self.folder.absolute().parent.name}",
            scores=scores,
            rows=rows,
            key=self.key,
            cases=shown,
            calibration={title: (sums.sum(0), errors[title]) for title, sums in bins.items()},
            scalars=self.tensorboard,
            facts={"Setting": self.setting, "Environment": run},
            data=self.data,
            notes=self.notes,
            validated_on=self.validated_on,
            labels=read_label_quality(self.label_quality) if self.label_quality else NO_LABELS,
        )
        shutil.rmtree(self.folder / ".slices", ignore_errors=True)
        self.logger.info("evaluation: %s", path)


def _is_plain(value: Any) -> bool:
    """Whether a configuration has this outright: no component, no expression."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_plain, value))
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and value[:1] not in ("", "$", "@", "%"))


def _sorted(values: Tensor, order: Sequence[int]) -> np.ndarray:
    array = convert_to_numpy(values.double())
    return np.asarray(array[order] if len(array) == len(order) else array)


def _calibration_row(scores: Scores, title: str, sums: np.ndarray) -> dict[str, Any]:
    """ECE of all voxels, with the interval over patients."""
    known = np.stack([sums[np.asarray(scores.patients) == who].sum(0) for who in dict.fromkeys(scores.patients)])
    known = known[known[:, 0].any(1)]

    def error(some: np.ndarray) -> float:
        return calibration_error(torch.from_numpy(some.sum(0))).item()

    low, high = interval(known, error, resamples=1000) if len(known) > 1 else (np.nan, np.nan)
    return {"figure": "ECE", "voxels": title, "mean": error(known), "low": low, "high": high, "patients": len(known)}


def _short(images: Sequence[str]) -> list[str]:
    """Names of files, with as much of their folders as tells them apart."""
    if len({Path(image).name for image in images}) == len(images):
        return [Path(image).name for image in images]
    root = os.path.commonpath([Path(image).parent for image in images])
    return [os.path.relpath(image, root) for image in images]
