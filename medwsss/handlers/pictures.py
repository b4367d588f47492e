# SPDX-License-Identifier: Apache-2.0
"""What one sees of a run: image, scribble, soft pseudo-label, prediction and ground truth side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from matplotlib.image import imsave
from monai.data import decollate_batch
from monai.handlers import TensorBoardHandler
from monai.utils import CommonKeys
from torch.utils.tensorboard import SummaryWriter

from medwsss.keys import LABEL, PSEUDO_LABEL, SCRIBBLE
from medwsss.reports.pictures import render

__all__ = ["PictureHandler"]


class PictureHandler(TensorBoardHandler):
    """Pictures of the last batch's first item, to TensorBoard and to ``output_dir/pictures/<engine>_<epoch>.png``.

    Attach it to the trainer; the validator's pictures come along with those of the trainer's epoch. It looks at
    ``engine.state`` when an epoch is complete, and it does not matter whether the engine decollates.

    Args:
        output_dir: the run's folder.
        class_names: one for each class, background first.
        interval: epochs between pictures; the last epoch always has one.
        validator: evaluator whose output is pictured too.
        summary_writer: TensorBoard writer to share; by default one of its own.
        log_dir: where that one writes to; by default ``output_dir/tensorboard``.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_names: Sequence[str],
        interval: int = 1,
        validator: Engine | None = None,
        summary_writer: SummaryWriter | None = None,
        log_dir: str | Path | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f"expected an interval of at least one epoch, got {interval}")
        super().__init__(summary_writer, str(log_dir or Path(output_dir) / "tensorboard"))
        self.folder = Path(output_dir) / "pictures"
        self.class_names = tuple(map(str, class_names))
        self.interval = interval
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        """Register with the trainer ``engine`` and, if there is one, the validator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self, engine, "training")
        if self.validator is not None:
            self.validator.add_event_handler(Events.EPOCH_COMPLETED, self, engine, "validation")

    @idist.one_rank_only()
    def __call__(self, engine: Engine, trainer: Engine, name: str) -> None:
        """Draw ``engine``'s current output if the epoch of ``trainer`` is one to be pictured."""
        epoch = trainer.state.epoch
        if epoch % self.interval and epoch != trainer.state.max_epochs:
            return
        batch, output = _first(engine.state.batch), _first(engine.state.output)
        targets = output[CommonKeys.LABEL]
        if not isinstance(targets, Mapping):
            targets = {LABEL: targets}
        picture = render(
            output[CommonKeys.IMAGE],
            scribble=targets.get(SCRIBBLE),
            pseudo_label=targets.get(PSEUDO_LABEL),
            prediction=output[CommonKeys.PRED],
            label=targets.get(LABEL, batch.get(LABEL)),
            class_names=self.class_names,
            title=f"{name}, epoch {epoch}",
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        imsave(self.folder / f"{name}_{epoch:04d}.png", picture)
        self._writer.add_image(f"pictures/{name}", picture, epoch, dataformats="HWC")
        self._writer.flush()


def _first(data: Any) -> Any:
    """First item of a batch, decollated or not."""
    return (decollate_batch(data) if isinstance(data, Mapping) else data)[0]
