# SPDX-License-Identifier: Apache-2.0
"""How good pseudo-labels are in the course of a training, where dense masks lie beside the scribbles."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys
from torch.utils.data import Dataset

from medwsss.files import read_json, write_json
from medwsss.handlers.case_slices import load_slices, save_slices, slices_of
from medwsss.handlers.opinions import opinions
from medwsss.handlers.volume_labels import VolumeLabelHandler
from medwsss.keys import CASE, GUIDE, IMAGE, LABEL
from medwsss.metrics import LabelQualityMetric
from medwsss.reports.label_quality import NO_LABELS, TrainingLabels

__all__ = ["LabelQualityHandler", "read_label_quality"]

RECORD = "label_quality.json"

logger = logging.getLogger(__name__)


class LabelQualityHandler:
    """Compares pseudo-labels of some whole training cases with their dense masks, every few epochs.

    ``before`` is what the network says, ``σ``, and ``after`` what the solver makes of it and of the strokes, ``y``; see
    :class:`~medwsss.metrics.LabelQualityMetric` for the figures, of all voxels but seeds. Nothing else ever sees the
    masks: they train nothing, choose no epoch and stop nothing, and weights are those of a training without this.

    Figures go to ``engine.state.metrics`` as ``label_accuracy_before``, ``label_accuracy_after``, and so on (list it
    before what writes to TensorBoard), all of them with the errors by distance to ``label_quality.json``, and slices
    of the cases beside it, for an evaluation's page. One process does the work.

    Args:
        labels: of the run, for its cases, network, inferer and solver; need not be in use.
        masks: ``label`` of the same images, by the same way to the same grid.
        output_dir: folder for these files.
        number: of cases, evenly over those that there are.
        interval: epochs in between; the last one always has figures.

    Raises:
        ValueError: for figures out of range; and when the training starts, for an image without a mask and for a mask
            of another shape.
    """

    def __init__(
        self, labels: VolumeLabelHandler, masks: Dataset, output_dir: str | Path, number: int = 4, interval: int = 1
    ) -> None:
        if number < 1 or interval < 1:
            raise ValueError(f"expected at least one case and an interval from 1, got {number} and {interval}")
        self.labels, self.interval = labels, interval
        self.folder = Path(output_dir)
        every = range(len(labels.index))
        self.chosen = every[:: -(-len(every) // number)]
        self._masks = masks
        self._truth: dict[int, torch.Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Register with a MONAI trainer."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def load(self, engine: Engine) -> None:
        """Read the masks; see ``Raises``."""
        data: Any = self._masks
        places = {str(item[IMAGE]): index for index, item in enumerate(data.data)}
        for index in self.chosen:
            item: Any = self.labels.cases.data[index]  # type: ignore[attr-defined]
            if str(item[IMAGE]) not in places:
                raise ValueError(f"expected a mask of {item[IMAGE]}, got none")
            mask, image = data[places[str(item[IMAGE])]][LABEL], self.labels.cases[index][IMAGE]
            if mask.shape[1:] != image.shape[1:]:
                raise ValueError(
                    f"expected a mask of {tuple(image.shape[1:])} of {item[IMAGE]}, got {tuple(mask.shape[1:])}"
                )
            self._truth[index] = mask

    def _forget(self, engine: Engine) -> None:
        for name in [name for name in engine.state.metrics if name.startswith("label_")]:
            del engine.state.metrics[name]  # an epoch without a look has no figures

    @idist.one_rank_only()
    def __call__(self, engine: Engine) -> None:
        """Look, if it is time to."""
        epoch = engine.state.epoch
        if epoch % self.interval and epoch != engine.state.max_epochs:
            return
        metric = LabelQualityMetric(self.labels.num_classes)
        sums: dict[str, list[torch.Tensor]] = {"before": [], "after": []}
        for index, truth in self._truth.items():
            case = self.labels.cases[index]
            found = opinions(case, self.labels, getattr(engine.state, "device", torch.device("cpu")))
            for when, y in (("before", found.sigma), ("after", found.y)):
                sums[when].append(torch.as_tensor(metric(y[None], truth[None], scribble=found.scribble[None])))
            pred, pseudo = (each.argmax(0, keepdim=True) for each in (found.sigma, found.y))
            maps = {CommonKeys.PRED: pred, "truth": truth, "pseudo": pseudo, "strokes": found.scribble}
            save_slices(slices_of(case.get(GUIDE, case[IMAGE]), **maps), self.folder / f"{case[CASE]}.npz")
        quality = {when: metric.summary(torch.cat(of)) for when, of in sums.items()}
        for when, of in quality.items():
            for name in ("accuracy", "soft_jaccard", "entropy"):
                engine.state.metrics[f"label_{name}_{when}"] = getattr(of, name)
        self._record(epoch, metric.ranges, {when: of._asdict() for when, of in quality.items()})
        before, after = (quality[when].accuracy for when in ("before", "after"))
        logger.info(
            "Against the masks of %d cases: accuracy %.4f, pseudo-labels %.4f.", len(self._truth), before, after
        )

    def _record(self, epoch: int, ranges: list[str], quality: dict[str, Any]) -> None:
        """Add an epoch to those before it; what an earlier run left of later ones goes."""
        path = self.folder / RECORD
        earlier = [each for each in read_json(path)["epochs"] if each["epoch"] < epoch] if path.exists() else []
        names = [self.labels.cases.data[index][CASE] for index in self._truth]  # type: ignore[attr-defined]
        write_json({"cases": names, "ranges": ranges, "epochs": [*earlier, {"epoch": epoch, **quality}]}, path)


def read_label_quality(folder: Path) -> TrainingLabels:
    """What a handler has left in this folder, if one has."""
    path = folder / RECORD
    if not path.exists():
        return NO_LABELS
    record = read_json(path)
    cases = {name: load_slices(folder / f"{name}.npz") for name in record["cases"]}
    return TrainingLabels(record["ranges"], record["epochs"], cases)
