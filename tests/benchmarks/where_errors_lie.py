# SPDX-License-Identifier: Apache-2.0
"""Where a 2-D model's errors on ACDC lie: in the whole image, near the heart, or in blobs away from it.

    python -m tests.benchmarks.where_errors_lie output/compare/acdc/*/model.pt

Validation Dice of each model three ways: over the whole image; over the middle 160 × 160 pixels of every slice, where
the expert's background strokes are; over the whole image with the largest component of each class kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from monai.transforms import CenterSpatialCrop, KeepLargestConnectedComponent

from medwsss.metrics import ClassDiceMetric
from tests.benchmarks.acdc_models import cases, load_network


def main() -> None:
    """Predict, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="model.pt of 2-D runs with acdc.json")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/acdc"))
    parser.add_argument("--output", type=Path, default=Path("output/benchmarks/where_errors_lie.json"))
    arguments = parser.parse_args()
    middle, largest = CenterSpatialCrop((160, 160, -1)), KeepLargestConnectedComponent(is_onehot=False)
    rows = {}
    for path in arguments.models:
        metrics = {way: ClassDiceMetric(4) for way in ("whole image", "middle 160 × 160", "largest component")}
        for case in cases(load_network(path), arguments.data, "validation"):
            pred, truth = case.logits[0].argmax(0, keepdim=True), case.truth[0]
            metrics["whole image"]([pred], [truth])
            metrics["middle 160 × 160"]([middle(pred)], [middle(truth)])
            metrics["largest component"]([largest(pred.clone())], [truth])  # it works in place
        rows[str(path)] = {way: round(metric.aggregate().item(), 4) for way, metric in metrics.items()}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    for name, figures in rows.items():
        print(f"{name}: " + ", ".join(f"{way} {value:.3f}" for way, value in figures.items()))


if __name__ == "__main__":
    main()
