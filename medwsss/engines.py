# SPDX-License-Identifier: Apache-2.0
"""How a weakly annotated batch reaches MONAI's stock ``SupervisedTrainer``, and a bad case its evaluator."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import Evaluator, PrepareBatch
from monai.utils import convert_to_tensor, ensure_tuple
from torch import Tensor

from medwsss.bundle.command_line import cause_of
from medwsss.keys import FAILURE, GUIDE, IMAGE, PRIOR, PSEUDO_LABEL, SCRIBBLE, TAGS

__all__ = ["CaseByCase", "PrepareWeakBatch", "ReadableDataset"]

logger = logging.getLogger(__name__)

_TOLD = 10  # failures in the last line of a run; the log has them all


class PrepareWeakBatch(PrepareBatch):
    """Batch → ``(image, {"scribble": …, "guide": …})``, the form that losses and ``PseudoLabelHandler`` read.

    Pseudo-labels that come with the batch, cut out of those of whole volumes, go along, and so do tags and priors.

    Args:
        scribble_key: the batch's entry that trains the network; name the dense mask here for full supervision.
        guide_key: the batch's entry that contrast weights look at; absent from the batch, the image takes its place.

    Raises:
        KeyError: when the batch has no image or no scribble.

    Example:
        >>> batch = {"image": torch.zeros(2, 1, 8, 8), "scribble": torch.full((2, 1, 8, 8), 255)}
        >>> image, targets = PrepareWeakBatch()(batch)
        >>> sorted(targets), targets["guide"] is image  # no guide of its own: contrasts are the image's
        (['guide', 'scribble'], True)
    """

    def __init__(self, scribble_key: str = SCRIBBLE, guide_key: str = GUIDE) -> None:
        self.scribble_key = scribble_key
        self.guide_key = guide_key

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        def put(tensor: Tensor, **to: Any) -> Tensor:
            # Plain tensors: MetaTensor's bookkeeping costs more than the small operations of a loss.
            plain: Tensor = convert_to_tensor(tensor, track_meta=False)
            return plain.to(device=device, non_blocking=non_blocking, **to)

        for key in (IMAGE, self.scribble_key):
            if key not in batchdata:
                raise KeyError(f"expected {key!r} in the batch, got {sorted(batchdata)}")
        image = put(batchdata[IMAGE], **kwargs)
        guide = put(batchdata[self.guide_key]) if self.guide_key in batchdata else image
        targets = {SCRIBBLE: put(batchdata[self.scribble_key]), GUIDE: guide}
        targets |= {key: put(batchdata[key]) for key in (PSEUDO_LABEL, TAGS, PRIOR) if key in batchdata}
        return image, targets


class ReadableDataset(Dataset):
    """MONAI's ``Dataset`` of cases, of which some may not be readable: such a one is ``{"failure": why}``."""

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:  # whatever is wrong with one file, the others are to be predicted
            return {FAILURE: _reason(error, self.data[index])}


class CaseByCase:
    """The iterations of an evaluator, each of which may fail without ending the run; the end of the run names them.

    It is both the evaluator's ``iteration_update`` and one of its handlers; cases come one by one, from a
    :py:class:`ReadableDataset`. What goes wrong with a case, in reading, in the network or in writing, is logged.

    Raises:
        ValueError: when the run is started with batches of several cases, and when it ends with failures.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []

    def attach(self, engine: Evaluator) -> None:
        """Listen to the start and the end of the run."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.COMPLETED, self.completed)

    def started(self, engine: Evaluator) -> None:
        """Look at the loader."""
        if (size := getattr(engine.data_loader, "batch_size", 1)) != 1:
            raise ValueError(f"expected cases one by one (batch_size 1), got batches of {size}")

    def __call__(self, engine: Evaluator, batch: dict[str, Any]) -> Any:
        """One iteration; nothing comes of a case that fails."""
        engine.state.output = None  # a prediction may be large, and the next one needs the room
        if FAILURE in batch:
            self._failed(batch[FAILURE][0])
            return {}
        try:
            return engine._iteration(engine, batch)
        except Exception as error:
            self._failed(_reason(error, {IMAGE: batch[IMAGE].meta["filename_or_obj"]}))
            return {}

    def completed(self, engine: Evaluator) -> None:
        """Say how many there are, or raise."""
        done, failed = engine.state.iteration - len(self.failures), len(self.failures)
        if failed:
            more = f"; and {failed - _TOLD} more, named above" if failed > _TOLD else ""
            raise ValueError(f"{done} predicted, {failed} failed: {'; '.join(self.failures[:_TOLD])}{more}")
        logger.info("%d predicted, 0 failed.", done)

    def _failed(self, reason: str) -> None:
        self.failures.append(reason)
        logger.error("No prediction: %s", reason)


def _reason(error: BaseException, case: Mapping[str, Any]) -> str:
    """What went wrong, with the names of the case's files if it doesn't say them itself."""
    cause = cause_of(error)
    text = " ".join(str(cause).split())
    told = text if type(cause) is ValueError else f"{type(cause).__name__}: {text}"
    names = [str(name) for name in ensure_tuple(case[IMAGE])]
    return told if any(name in told for name in names) else f"{told} in {', '.join(names)}"
