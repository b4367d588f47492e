# SPDX-License-Identifier: Apache-2.0
"""Appendix A's check: soft Jaccard index between a solver's pseudo-labels and the exact minimiser, on CamVid images.

    python -m tests.benchmarks.agreement --model output/camvid/model.pt

The all-quadratic energy has a closed-form minimiser ``y*``, which ``RandomWalker`` finds. The paper starts from the
network's logits, takes 200 steps of 0.075, and reports "the standard soft Jaccard index", 99.2 % on average over 100
images. It gives neither the index's formula nor ``η``, ``λ``, network and images of this check; ``η`` and ``λ`` are
those of its experiments here. The index of soft labels is ``I / (|y| + |y*| − I)``, ``I = ½ (|y| + |y*| − |y − y*|)``:
1 for equal ones, as ``I = Σ y y*`` with ``|y| = Σ y`` would not be. MONAI has it with two norms:

- ``|y| = Σ y``, which makes it ``Σ min(y, y*) / Σ max(y, y*)``: the stricter one, meant where nothing else is said.
- ``|y| = Σ y²``, which makes it ``Σ y y* / Σ (y² + y*² − y y*)``: classes of small share hardly enter.

Sums run over unlabelled pixels and all classes at once. "By class" is the mean of each class's own first index, where a
class that owns next to nothing of an image counts as much as another.

``--model`` is a run of ``bundles/scribble_2d`` with ``small.json`` on the study ``--data``; without it, logits and
seeds are synthetic. Writes ``output/benchmarks/agreement.json`` and ``.md``, or what ``--name`` says.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.losses import DiceLoss
from monai.transforms import LoadImage
from torch import Tensor
from tqdm import tqdm

from medwsss.keys import UNLABELED
from medwsss.solvers import GradientDescent, NaturalGradient, RandomWalker
from medwsss.study.readers import StudyReader
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from tests.benchmarks.problems import Problem, camvid
from tests.benchmarks.report import machine, save, table

BUNDLE = "bundles/scribble_2d"
CLASSES = 11
COLUMNS = {
    "labels": "labels",
    "steps": "steps",
    "mean": "soft Jaccard, %",
    "least": "least",
    "squared": "with squares, %",
    "by_class": "by class, %",
    "excess": "energy above the exact, %",
}


def soft_jaccard(y: Tensor, exact: Tensor, squared: bool = False) -> float:
    """The mean over channels of ``I / (|y| + |y*| − I)`` for ``B C N``, as above; ``squared`` chooses the norm."""
    index = DiceLoss(jaccard=True, soft_label=True, squared_pred=squared, smooth_nr=0, smooth_dr=1e-12)
    return 1 - float(index(y, exact))


def synthetic(count: int) -> Iterator[Problem]:
    """Network-like logits and 3 % seeds on the first images."""
    return map(camvid, range(count))


@torch.no_grad()
def predicted(model: Path, data: Path, count: int) -> Iterator[Problem]:
    """What a trained network says about the study's first training images, with their scribbles."""
    config = ConfigParser(ConfigParser.load_config_files([f"{BUNDLE}/inference.json", f"{BUNDLE}/small.json"]))
    config.update({"num_classes": CLASSES})
    network, prepare, infer = map(config.get_parsed_content, ("network_def", "preprocessing", "tiles"))
    network.load_state_dict(torch.load(model, weights_only=True))
    network.eval()
    load = LoadImage(reader=StudyReader, ensure_channel_first=True)
    for item in json.loads((data / "dataset.json").read_text())["training"][:count]:
        guide, scribble = (load(data / item[key]).as_tensor()[None] for key in ("image", "scribble"))
        probabilities = infer(prepare({"image": str(data / item["image"])})["image"].as_tensor()[None], network)
        yield Problem(probabilities.log(), guide, scribble.long(), GridNeighborhood(bandwidth=9.0))


def compare(problem: Problem, eta: float, lam: float, steps: int) -> dict[str, dict[str, float]]:
    """For each solver's labels: the indices, and by which share their energy exceeds the least."""
    energy, inputs = SelfLabelingEnergy("quadratic", "quadratic", problem.neighborhood, eta, lam), problem[:3]
    bound = energy.bind(*inputs)
    walker = RandomWalker(energy, tolerance=1e-6)(*inputs)
    free = (problem.scribble == UNLABELED).expand_as(walker.labels)
    labels = {"the network's": (bound.reset(bound.sigma), 0)}
    for solver in (GradientDescent(energy, steps), NaturalGradient(energy)):
        solution = solver(*inputs)
        labels[type(solver).__name__] = solution.labels, solution.steps
    exact, least = (walker.labels * free).flatten(2), bound.value(walker.labels).item()
    rows = {}
    for name, (y, taken) in labels.items():
        own = (y * free).flatten(2)
        together = own.flatten(1)[:, None], exact.flatten(1)[:, None]
        rows[name] = {
            "soft_jaccard": soft_jaccard(*together),
            "squared": soft_jaccard(*together, squared=True),
            "by_class": soft_jaccard(own, exact),
            "excess": bound.value(y).item() / least - 1,
            "steps": taken,
        }
    return rows


def summary(images: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Per cent, means over images."""
    rows = []
    for name in images[0]:
        columns = {key: [image[name][key] for image in images] for key in images[0][name]}
        per_cent = {key: round(100 * mean(columns[key]), 3) for key in ("squared", "by_class", "excess")}
        index = [round(100 * x, 2) for x in (mean(columns["soft_jaccard"]), min(columns["soft_jaccard"]))]
        rows.append({"labels": name, "steps": mean(columns["steps"]), "mean": index[0], "least": index[1]} | per_cent)
    return rows


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--model", type=Path, help="model.pt of a run; without it, logits are synthetic")
    parser.add_argument("--data", type=Path, default=Path("data/camvid_scribbles"), help="study of that run")
    parser.add_argument("--eta", type=float, default=0.3)
    parser.add_argument("--lam", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=200, help="of gradient descent")
    parser.add_argument("--name", default="agreement", help="of the files written")
    arguments = parser.parse_args()
    problems = (
        predicted(arguments.model, arguments.data, arguments.images) if arguments.model else synthetic(arguments.images)
    )
    images = [
        compare(problem, arguments.eta, arguments.lam, arguments.steps)
        for problem in tqdm(problems, total=arguments.images)
    ]
    each = {name: [round(image[name]["soft_jaccard"], 5) for image in images] for name in images[0]}
    options = {key: str(value) for key, value in vars(arguments).items()}
    report = {"machine": machine(), **options, "rows": summary(images), "soft_jaccard_each": each}
    command = "python -m tests.benchmarks.agreement " + " ".join(
        f"--{k} {v}" for k, v in options.items() if v != "None"
    )
    print(save(arguments.name, report, f"`{command}`", table(report["rows"], COLUMNS)))


if __name__ == "__main__":
    main()
