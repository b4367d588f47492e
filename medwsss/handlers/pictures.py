# SPDX-License-Identifier: Apache-2.0
"""What one sees of a run: image, scribble, soft pseudo-label, prediction and ground truth side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.image import imsave
from monai.data import decollate_batch
from monai.handlers import TensorBoardHandler
from monai.utils import CommonKeys
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from medwsss.keys import LABEL, PSEUDO_LABEL, SCRIBBLE
from medwsss.reports.pictures import draw_energy, render
from medwsss.reports.scale import scale_of
from medwsss.terms.simplex import seed_mask, uncertainty, void_mask

__all__ = ["PictureHandler"]


class PictureHandler(TensorBoardHandler):
    """Pictures to TensorBoard and to ``output_dir/pictures/<name>_<epoch>.png``, of what matters.

    ``training`` is the last batch's first patch, on the slice of which the pseudo-label (before there is one, the
    network) is least sure; ``validation`` the case with most wrong voxels, on the slice with most of them;
    ``solver_energy`` the curve of the epoch's last solve, where the handler of pseudo-labels leaves one in
    ``engine.state.solver_energy``. Attach it to the trainer; the validator's pictures come along with those of the
    trainer's epoch. It does not matter whether the engine decollates. Of several processes, the first one draws what it
    has seen.

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
        self._forget()

    def attach(self, engine: Engine) -> None:
        """Register with the trainer ``engine`` and, if there is one, the validator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.training)
        if self.validator is not None:
            self.validator.add_event_handler(Events.EPOCH_STARTED, self._forget)
            self.validator.add_event_handler(Events.ITERATION_COMPLETED, self._keep, engine)
            self.validator.add_event_handler(Events.EPOCH_COMPLETED, self.validation, engine)

    def _is_due(self, trainer: Engine) -> bool:
        epoch = trainer.state.epoch
        return epoch % self.interval == 0 or epoch == trainer.state.max_epochs

    def _forget(self) -> None:
        self._worst: tuple[int, Any, Any] = (-1, None, None)

    def _keep(self, engine: Engine, trainer: Engine) -> None:
        """Remember the case with most wrong voxels so far."""
        if not self._is_due(trainer) or idist.get_rank():
            return
        for batch, output in zip(_items(engine.state.batch), _items(engine.state.output)):
            truth = _targets(output).get(LABEL, batch.get(LABEL))
            wrong = 0 if truth is None else int(_wrong(output[CommonKeys.PRED], truth).sum())
            if wrong > self._worst[0]:
                self._worst = (wrong, batch, output)

    @idist.one_rank_only()
    def training(self, engine: Engine) -> None:
        """Draw the trainer's current output and its last solve, if the epoch is one to be pictured."""
        if not self._is_due(engine):
            return
        batch, output = _items(engine.state.batch)[0], _items(engine.state.output)[0]
        targets, pred = _targets(output), output[CommonKeys.PRED]
        unsure = uncertainty(targets[PSEUDO_LABEL][None] if PSEUDO_LABEL in targets else pred[None].softmax(1))
        exists = ~void_mask(targets.get(SCRIBBLE, torch.zeros_like(unsure, dtype=torch.uint8)))
        self._draw("training", engine.state.epoch, batch, output, unsure[0] * exists[0])
        if energies := getattr(engine.state, "solver_energy", None):
            title = f"epoch {engine.state.epoch}"
            self._write("solver_energy", engine.state.epoch, draw_energy(energies, title))

    @idist.one_rank_only()
    def validation(self, engine: Engine, trainer: Engine) -> None:
        """Draw the validator's worst case, if the trainer's epoch is one to be pictured."""
        _, batch, output = self._worst
        if output is not None:
            truth = _targets(output).get(LABEL, batch.get(LABEL))
            focus = None if truth is None else _wrong(output[CommonKeys.PRED], truth)
            self._draw("validation", trainer.state.epoch, batch, output, focus)
            self._forget()

    def _draw(self, name: str, epoch: int, batch: Any, output: Any, focus: Tensor | None) -> None:
        targets, (spacing, unit) = _targets(output), scale_of(batch[CommonKeys.IMAGE])
        picture = render(
            output[CommonKeys.IMAGE],
            scribble=targets.get(SCRIBBLE),
            pseudo_label=targets.get(PSEUDO_LABEL),
            prediction=output[CommonKeys.PRED],
            label=targets.get(LABEL, batch.get(LABEL)),
            focus=focus,
            class_names=self.class_names,
            spacing=spacing,
            unit=unit,
            title=f"{name}, epoch {epoch}",
        )
        self._write(name, epoch, picture)

    def _write(self, name: str, epoch: int, picture: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        imsave(self.folder / f"{name}_{epoch:04d}.png", picture)
        self._writer.add_image(f"pictures/{name}", picture, epoch, dataformats="HWC")
        self._writer.flush()


def _items(data: Any) -> Any:
    """Items of a batch, decollated or not."""
    return decollate_batch(data) if isinstance(data, Mapping) else data


def _targets(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the engine's network is to learn, by name; a validator's is its label."""
    targets = output[CommonKeys.LABEL]
    return targets if isinstance(targets, Mapping) else {LABEL: targets}


def _wrong(pred: Tensor, truth: Tensor) -> Tensor:
    """Where ``K *S`` scores or ``1 *S`` classes are not what ``1 *S`` says, ``*S``."""
    classes = pred.argmax(0) if len(pred) > 1 else pred[0]
    return seed_mask(truth[0]) & (classes != truth[0].to(classes.device))
