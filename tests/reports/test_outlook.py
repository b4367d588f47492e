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


def test_figures_are_those_of_the_runs_that_are_kept():
    """The default's: 400 and 600 iterations with five grids, 600 and 1,800 of the first table, ten times as many."""
    docs = Path("bundles/scribble/docs")

    def dice(file, study, method):
        runs = [json.loads(line) for line in (docs / file).read_text().splitlines()]
        found = [run["Dice"]["mean"] for run in runs if (run["study"], run["method"]) == (study, method)]
        return round(sum(found) / len(found), 3)

    for name, study, other in (("ACDC's slices", "acdc_2d", "acdc"), ("Hippocampus", "hippocampus", "hippocampus_0.3")):
        kept = [dice("grids.jsonl", other, "deeper")]
        kept += [dice(file, study, "default") for file in ("robustness.jsonl", "longer.jsonl")]
        assert list(outlook.MEASURED[name].values()) == kept
