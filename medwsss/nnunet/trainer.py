# SPDX-License-Identifier: Apache-2.0
"""nnU-Net's trainer with pseudo-labels beside its partial loss. ``docs/nnunet.md`` has the commands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from medwsss.nnunet.loss import LossWithPseudoLabels
from medwsss.nnunet.settings import PLAN_KEY, read_settings

try:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from medwsss.nnunet.pipeline import TellingDataset, intensity_ranges, with_guide, with_padding
except ImportError as error:
    missing = f'expected nnU-Net 2.8: pip install "medwsss[nnunet]" ({error})'
    raise ModuleNotFoundError(missing, name=error.name) from error

__all__ = ["nnUNetTrainerSelfLabeling"]


class nnUNetTrainerSelfLabeling(nnUNetTrainer):  # noqa: N801 (as nnU-Net names trainers, and looks for them)
    """Plans, network, augmentation, deep supervision and partial Dice + CE are nnU-Net's; two things are not.

    Padding is void: no loss and no pseudo-label. And from when the seeds of every class are won,
    :class:`~medwsss.nnunet.loss.LossWithPseudoLabels` adds pseudo-labels on the head of full resolution, whose guide is
    the normalised image before intensities are augmented. :class:`~medwsss.nnunet.settings.Settings` are the plan's and
    the environment's; checkpoints hold them, and whether pseudo-labels are in use.

    Raises:
        ValueError: for a data set without an ignore label, for one of regions, and for wrong settings.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's own default)
    ) -> None:
        self.settings = read_settings(plans)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if not self.label_manager.has_ignore_label or self.label_manager.has_regions:
            raise ValueError(
                f"expected classes and an ignore label in the dataset.json of {self.plans_manager.dataset_name}, got "
                f"{dataset_json['labels']}: where all is labelled, nnU-Net's own trainer is the one"
            )
        chosen = self.settings
        for name, value in (
            ("num_epochs", chosen.epochs),
            ("num_iterations_per_epoch", chosen.iterations),
            ("num_val_iterations_per_epoch", chosen.val_iterations),
        ):
            setattr(self, name, value or getattr(self, name))
        self.print_to_log_file(f"Self-labeling: {self.settings}")

    def _build_loss(self) -> nn.Module:
        spacing = self.configuration_manager.spacing[-len(self.configuration_manager.patch_size) :]
        return LossWithPseudoLabels(super()._build_loss(), self.label_manager.ignore_label, self.settings, spacing)

    def get_tr_and_val_datasets(self) -> tuple[TellingDataset, ...]:
        """Those of the split; the ranges of intensities are those of the training's."""
        datasets = super().get_tr_and_val_datasets()
        self.loss.ranges = intensity_ranges(datasets[0])
        return tuple(map(TellingDataset, datasets))

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        """nnU-Net's, with padding and guide."""
        return with_guide(nnUNetTrainer.get_training_transforms(*args, **kwargs))

    @staticmethod
    def get_validation_transforms(*args: Any, ignore_label: int, **kwargs: Any) -> Any:
        """nnU-Net's, with padding."""
        return with_padding(
            nnUNetTrainer.get_validation_transforms(*args, ignore_label=ignore_label, **kwargs), ignore_label
        )

    def on_train_epoch_start(self) -> None:
        """The term counts in training."""
        super().on_train_epoch_start()
        self.loss.train()

    def on_validation_epoch_start(self) -> None:
        """And not in validation."""
        super().on_validation_epoch_start()
        self.loss.eval()

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Look at the seeds, and decide about the next epoch."""
        super().on_train_epoch_end(train_outputs)
        was, losses = self.loss.active, self.loss.conclude(self.device)
        lost = [str(k) for k, loss in enumerate(losses) if loss > self.settings.warmup_loss]
        says = f"not won: {', '.join(lost)}" if lost else "all won"
        self.print_to_log_file("Seeds, mean -ln sigma by class:", [round(loss, 3) for loss in losses], says)
        if self.settings.eta and was != self.loss.active:
            begun = "begin" if self.loss.active else f"pause: the seeds of class {', '.join(lost)} are lost"
            self.print_to_log_file(f"Pseudo-labels {begun}.")

    def save_checkpoint(self, filename: str) -> None:
        """With what a resumed training has to know."""
        self.my_init_kwargs[PLAN_KEY] = {"active": self.loss.active, "settings": asdict(self.settings)}
        super().save_checkpoint(filename)

    def load_checkpoint(self, checkpoint: dict | str) -> None:
        """Take it back; settings that are others now count, and the log tells which."""
        super().load_checkpoint(checkpoint)
        state = self.my_init_kwargs.get(PLAN_KEY, {})
        self.loss.active = state.get("active", False)
        for name, was in state.get("settings", {}).items():
            if (now := getattr(self.settings, name, was)) != was:
                self.print_to_log_file(f"{name} is {now}, and was {was} in the checkpoint.")
