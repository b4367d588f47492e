# SPDX-License-Identifier: Apache-2.0
"""A page of pictures of finished runs: image, strokes, pseudo-label of the whole case, prediction and dense mask.

    python -m medwsss.experiments gallery --runs output/scribble output/scribble_2d --output output/gallery

Shows training cases, evenly over each run's data list, on the slice with the most strokes of foreground. The page is
README.md, with a PNG a case beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from matplotlib.image import imsave
from tqdm import tqdm

from medwsss.advice.finished import FinishedRun
from medwsss.experiments.data import dense_cases
from medwsss.files import write_atomically
from medwsss.handlers.opinions import opinions
from medwsss.keys import IMAGE, SCRIBBLE
from medwsss.reports.pictures import render
from medwsss.reports.scale import scale_of

__all__ = ["add_arguments", "run"]

ABOUT = """Training cases, on the slice with most strokes of foreground: image, strokes, pseudo-label of the whole case
in mixed colours, prediction, dense mask where there is one (training has not seen it), and lines over the image."""

_WHOLE: dict[str, Any] = {"held_out_share": 0.0}  # all strokes are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="output_dir of trainings")
    parser.add_argument("--cases", type=int, default=3, help="of each run (default: 3)")
    parser.add_argument("--output", type=Path, default=Path("output/gallery"), help="(default: output/gallery)")


def run(arguments: argparse.Namespace) -> int:
    """Draw them.

    Raises:
        ValueError: before the first picture, for a run that cannot be read and for options that nobody reads.
    """
    if arguments.overrides:
        raise ValueError(f"expected no overrides of runs that are finished, got {' '.join(arguments.overrides)}")
    if arguments.cases < 1:
        raise ValueError(f"expected at least one case, got {arguments.cases}")
    found = [FinishedRun(folder, _WHOLE) for folder in arguments.runs]
    for each in found:
        each["volume_labels"]  # reads the study
    arguments.output.mkdir(parents=True, exist_ok=True)
    parts = ["# Gallery", ABOUT]
    for number, (folder, each) in enumerate(zip(arguments.runs, found), 1):
        parts.append(f"## {folder}")
        parts += _draw(folder, each, arguments.cases, arguments.output, f"run{number}")
    page = arguments.output / "README.md"
    write_atomically(memoryview(("\n\n".join(parts) + "\n").encode()), page)
    print(page)
    return 0


def _draw(folder: Path, of: FinishedRun, number: int, output: Path, prefix: str) -> list[str]:
    """Pictures of some cases of a run, and the lines that show them."""
    handler, names, cases = of["volume_labels"], of["class_names"], of["train#cases"]
    try:
        masks = dense_cases(folder, of)
    except ValueError:  # not every study has any
        masks = None
    lines = []
    for index in tqdm(range(0, len(cases), -(-len(cases) // number)), desc=folder.name, unit="case", disable=None):
        case = cases[index]
        guide, scribble, sigma, y = opinions(case, handler, of.device)
        spacing, unit = scale_of(case[IMAGE])
        picture = render(
            guide,
            class_names=names,
            scribble=scribble,
            pseudo_label=y,
            prediction=sigma,
            label=None if masks is None else masks[index][SCRIBBLE],
            spacing=spacing,
            unit=unit,
            title=case["case"],
        )
        file = f"{prefix}_{case['case']}.png"
        imsave(output / file, picture)
        lines.append(f"![{case['case']}]({file})")
    return lines
