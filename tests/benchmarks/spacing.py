# SPDX-License-Identifier: Apache-2.0
"""What voxel spacing in the pair weights does to pseudo-labels on thick slices, against ACDC's dense masks.

    python -m tests.benchmarks.spacing --model output/acdc/pce_seed0/model.pt

A seeds-only 2-D network predicts training volumes slice by slice; pseudo-labels are solved from its predictions and the
expert scribbles with neighbours in the plane alone, in 3-D with each volume's own spacing, and in 3-D as if voxels were
cubes. Mean foreground Dice of their argmax over volumes, paired differences with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.inferers import SliceInferer
from monai.transforms import LoadImage, ScaleIntensityRangePercentiles
from tqdm import tqdm

from medwsss.metrics import ClassDiceMetric
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.transforms import MapWeakLabels

CASES = ("network alone", "in the plane", "3-D, spacing", "3-D, as cubes")


def neighborhoods(spacing: list[float], bandwidth: float) -> dict[str, GridNeighborhood]:
    """The three neighbourhoods; a slice 10⁶ voxels away is one that has no neighbour across."""
    return {
        "in the plane": GridNeighborhood(bandwidth=bandwidth, spacing=[*spacing[:2], 1e6 * spacing[2]]),
        "3-D, spacing": GridNeighborhood(bandwidth=bandwidth, spacing=spacing),
        "3-D, as cubes": GridNeighborhood(bandwidth=bandwidth),
    }


def main() -> None:
    """Solve, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/acdc"))
    parser.add_argument("--model", type=Path, required=True, help="weights of a 2-D run with acdc.json")
    parser.add_argument("--output", type=Path, default=Path("output/benchmarks/spacing.json"))
    parser.add_argument("--volumes", type=int, default=30)
    arguments = parser.parse_args()
    config = ConfigParser(ConfigParser.load_config_files("bundles/scribble/inference.json"))
    config.update({"spatial_dims": 2, "num_classes": 4})
    network = config.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(arguments.model, weights_only=True))
    infer = SliceInferer(spatial_dim=2, roi_size=(160, 160), sw_batch_size=8, overlap=0.5, mode="gaussian")
    load, scale = LoadImage(ensure_channel_first=True), ScaleIntensityRangePercentiles(0.5, 99.5, 0, 1, clip=True)
    labels, dice = MapWeakLabels(4, ignore_values=4), ClassDiceMetric(4)
    items = json.loads((arguments.data / "dataset.json").read_text())["training"]
    scores: dict[str, list[float]] = {case: [] for case in CASES}
    for item in tqdm(items[:: max(1, len(items) // arguments.volumes)][: arguments.volumes]):
        image, mask, scribble = (load(arguments.data / item[key]) for key in ("image", "mask", "scribble"))
        guide = scale(image).as_tensor()[None]
        with torch.no_grad():
            logits = infer(guide, network)
        predictions = {"network alone": logits}
        for case, neighborhood in neighborhoods(item["spacing"], bandwidth=0.1).items():
            solve = NaturalGradient(SelfLabelingEnergy(neighborhood=neighborhood), max_steps=100)
            predictions[case] = solve(logits, guide, labels(scribble).as_tensor()[None]).labels
        for case, scored in predictions.items():
            dice(scored.argmax(1, keepdim=True), labels(mask)[None])
            scores[case].append(dice.aggregate().item())
            dice.reset()
    rows = {case: round(float(np.mean(values)), 4) for case, values in scores.items()}
    generator = np.random.default_rng(0)
    for a, b in (("3-D, spacing", "3-D, as cubes"), ("3-D, spacing", "in the plane")):
        difference = np.subtract(scores[a], scores[b])
        means = generator.choice(difference, (10000, len(difference))).mean(1)
        low, high = np.percentile(means, [2.5, 97.5])
        rows[f"{a} − {b}"] = f"{difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"mean": rows, "volumes": scores}, indent=1, ensure_ascii=False) + "\n")
    print("\n".join(f"{case:40}{value}" for case, value in rows.items()))


if __name__ == "__main__":
    main()
