# SPDX-License-Identifier: Apache-2.0
"""What the report says of longer trainings."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from medwsss.reports import outlook


def test_curves_are_for_minutes_of_a_cpu(monkeypatch):
    monkeypatch.setattr(outlook, "MEASURED", {"one": {1: 0.5, 4: 0.625}, "other": {4: 0.7}})
    said = "on one core, one came to Dice 0.500, 0.625 after 1, 4 minutes; other came to Dice 0.700 after 4 minutes"
    assert outlook.outlook(2, "cpu") == said
    assert outlook.outlook(None, torch.device("cpu")) is None and outlook.outlook(2, torch.device("cuda")) is None


def mean(files, **facts):
    """Mean Dice of the lines of these facts."""
    runs = [json.loads(line) for file in files for line in Path(file).read_text().splitlines()]
    found = [run["Dice"]["mean"] for run in runs if facts.items() <= run.items()]
    return round(sum(found) / len(found), 3)


def test_figures_are_those_of_the_runs_that_are_kept():
    docs = "bundles/scribble/docs/{}.jsonl"
    kept = [mean([docs.format("grids")], study="hippocampus_0.3", method="deeper")]
    for file in ("robustness", "longer"):
        kept.append(mean([docs.format(file)], study="hippocampus", method="default"))
    assert list(outlook.MEASURED["Hippocampus"].values()) == kept
    kept = [mean(["docs/benchmarks/ingredients.jsonl"], row="acdc_2d", method="deeper", supervision="strokes")]
    for arm, minutes in (("planned, four levels, three steps", 5), ("planned, four levels", 20)):
        kept.append(mean(["docs/benchmarks/planned.jsonl"], study="acdc", arm=arm, minutes=minutes))
    assert outlook.MEASURED["ACDC's slices"] == dict(zip((2, 5, 20), kept))
