# SPDX-License-Identifier: Apache-2.0
"""The paper's training step on a GPU: DeepLabV3+ on ResNet-101, 12 crops of 513², 21 classes, mixed precision.

    python -m tests.benchmarks.natural_gpu

One row a method: scribbles alone (``pce``), the regularised loss by gradient descent (``gd``) and self-labeling, each a
stock trainer on one batch that lies on the device already. A first epoch, without pseudo-labels, makes the network's
predictions real ones and is not measured. Writes ``output/benchmarks/natural_gpu.json`` and ``.md``. Without a CUDA
device it says so; ``--small`` runs the same on the CPU with a small network and small images, to prove the script.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from torch import nn

from medwsss.engines import PrepareWeakBatch
from medwsss.handlers import PseudoLabelHandler
from medwsss.keys import GUIDE, IMAGE, SCRIBBLE
from medwsss.losses import PartialCrossEntropyLoss, RegularizedLoss, SelfLabelingLoss
from medwsss.networks import DeepLabV3Plus
from medwsss.solvers import NaturalGradient
from medwsss.terms import SelfLabelingEnergy
from tests.benchmarks.problems import mosaic
from tests.benchmarks.report import StepClock, machine, save, table

LOSSES: dict[str, type[nn.Module]] = {
    "pce": PartialCrossEntropyLoss,
    "gd": RegularizedLoss,
    "self_labeling": SelfLabelingLoss,
}
COLUMNS = {
    "method": "method",
    "shape": "logits",
    "seconds": "seconds a step",
    "images_a_second": "images a second",
    "peak_gib": "peak memory, GiB",
    "solver_steps": "solver's steps",
}


def measure(
    method: str, backbone: str, batch: int, num_classes: int, size: tuple[int, ...], device: str, steps: int
) -> dict[str, Any]:
    """Median seconds and peak memory of a training step, over the second of two epochs of ``steps``."""
    torch.manual_seed(0)
    _, guide, scribble, _ = mosaic(batch, num_classes, size)
    image = (guide - guide.mean()) / guide.std()
    data = {key: value.to(device) for key, value in ((IMAGE, image), (GUIDE, guide), (SCRIBBLE, scribble))}
    network = DeepLabV3Plus(len(size), 3, num_classes, backbone).to(device)
    clock = StepClock(skip=steps)
    labeling = PseudoLabelHandler(NaturalGradient(SelfLabelingEnergy()), warmup_epochs=1)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=2,
        train_data_loader=[data] * steps,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0007, momentum=0.9),
        loss_function=LOSSES[method](),
        prepare_batch=PrepareWeakBatch(),
        amp=device == "cuda",
        train_handlers=[clock, *[labeling] * (method == "self_labeling")],
        decollate=False,
    )
    trainer.run()
    return {
        "method": method,
        "shape": "×".join(map(str, (batch, num_classes, *size))),
        "seconds": clock.seconds,
        "images_a_second": batch / clock.seconds,
        "peak_gib": clock.peak_gib,
        "solver_steps": trainer.state.metrics.get("solver_steps", ""),
    }


def main() -> None:
    """Measure, write, print; without a CUDA device, say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="MobileNetV2 on images of 33² on the CPU")
    arguments = parser.parse_args()
    if not arguments.small and not torch.cuda.is_available():
        print("No CUDA device here: nothing to measure. --small runs on the CPU.")
        return
    if arguments.small:
        rows = [measure(method, "mobilenet_v2", 2, 4, (33, 33), "cpu", steps=3) for method in LOSSES]
    else:
        rows = [measure(method, "resnet101", 12, 21, (513, 513), "cuda", steps=20) for method in LOSSES]
    print(
        save(
            "natural_small" if arguments.small else "natural_gpu",
            {"machine": machine(), "rows": rows},
            table(rows, COLUMNS),
        )
    )


if __name__ == "__main__":
    main()
