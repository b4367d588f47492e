# SPDX-License-Identifier: Apache-2.0
"""Figure 3(d): the test accuracy that three cross-entropies reach from partly wrong labels.

``python -m tests.benchmarks.label_corruption`` trains 180 small networks on scikit-learn's digits, in minutes on one
thread, and writes every accuracy to ``docs/figures/label_corruption.json``. The three losses get the same images, wrong
labels, initial weights and batches, and Adam, which is indifferent to a loss's scale.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import torch
from monai.networks.nets import ResNet
from monai.utils import set_determinism
from sklearn.datasets import load_digits
from torch import Tensor, nn

from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from tests.benchmarks.report import machine

RECORD = Path(__file__).parents[2] / "docs/figures/label_corruption.json"
LOSSES = ("cross_entropy", "reverse_cross_entropy", "collision_cross_entropy")
ETAS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
SEEDS = 5
CLASSES = 10
TRAINING_IMAGES = 1000  # of 1797; the others are the test
EPOCHS, BATCH, LEARNING_RATE = 15, 100, 3e-3


def resnet18() -> nn.Module:
    """ResNet-18 at an eighth of its width, its stem not reducing the 8 × 8 pixels."""
    planes = [8, 16, 32, 64]
    stem = {"conv1_t_size": 3, "conv1_t_stride": 1, "no_max_pool": True}
    return ResNet("basic", [2, 2, 2, 2], planes, spatial_dims=2, n_input_channels=1, num_classes=CLASSES, **stem)


def plain() -> nn.Module:
    """Two convolutions and two linear layers, without normalisation."""
    convolutions = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU()
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, CLASSES))


NETWORKS = {"ResNet-18, width ⅛": resnet18, "two convolutions, no normalisation": plain}


def corrupt(labels: Tensor, eta: float, classes: int) -> Tensor:
    """A share ``eta`` of the labels replaced by one of all ``classes`` at random, now and then the right one."""
    chosen = torch.randperm(len(labels))[: round(eta * len(labels))]
    return labels.index_copy(0, chosen, torch.randint(classes, (len(chosen),)))


def soft_targets(labels: Tensor, eta: float, classes: int) -> Tensor:
    """``ŷ = η u + (1 − η) y``: the observed one-hot label mixed with the uniform distribution, ``B K``."""
    return eta / classes + (1 - eta) * nn.functional.one_hot(labels, classes).float()


def accuracy(network: str, loss: str, eta: float, seed: int) -> float:
    """Train once; the share of test images whose class is right, in %."""
    set_determinism(seed)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # grey values 0 … 16
    labels = torch.from_numpy(digits.target).long()
    train, test = torch.randperm(len(labels)).tensor_split([TRAINING_IMAGES])
    targets = soft_targets(corrupt(labels[train], eta, CLASSES), eta, CLASSES)
    net = NETWORKS[network]()
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(train)).split(BATCH):
            optimizer.zero_grad()
            CROSS_ENTROPIES[loss](targets[batch], net(images[train[batch]]).softmax(1)).mean().backward()
            optimizer.step()
    net.eval()
    with torch.inference_mode():
        return 100 * (net(images[test]).argmax(1) == labels[test]).double().mean().item()


def main() -> None:
    torch.set_num_threads(1)
    runs = []
    for network, eta, loss, seed in product(NETWORKS, ETAS, LOSSES, range(SEEDS)):
        run = {"network": network, "eta": eta, "loss": loss, "seed": seed}
        runs.append({**run, "accuracy": round(accuracy(network, loss, eta, seed), 2)})
        print(json.dumps(runs[-1], ensure_ascii=False), flush=True)
    lines = ",\n".join(json.dumps(run, ensure_ascii=False) for run in runs)
    RECORD.write_text(f'{{"machine": {json.dumps(machine())},\n"runs": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
