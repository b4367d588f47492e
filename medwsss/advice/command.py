# SPDX-License-Identifier: Apache-2.0
"""Where the next strokes help most: what the network of a finished run and its pseudo-labels are in doubt about.

    medwsss advise output/scribble
    medwsss advise output/scribble --source unannotated/dataset.json

Predicts the run's training cases (or those of --source), solves their pseudo-labels in whole cases with the run's own
solver, and looks for regions that are in doubt and not near a stroke. Writes next_strokes.json, which docs/advice.md
explains, overlays/CASE.png, and masks/CASE.nii.gz (.png or .tif for pictures) with the number of each region, to be
opened beside the image in the tool that strokes are drawn with.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.image import imsave
from monai.data import Dataset
from tqdm import tqdm

from medwsss.advice.cases import CaseAdvice, advise_case, load_unannotated
from medwsss.advice.finished import FinishedRun
from medwsss.files import write_atomically, write_json
from medwsss.keys import CASE, IMAGE, UNLABELED
from medwsss.label_store import name_cases
from medwsss.reports.regions import Panel, draw_panels
from medwsss.study import check_images, check_study, load_datalist
from medwsss.study.outputs import encode_prediction, output_suffix
from medwsss.study.readers import stem_of

__all__ = ["advise", "main"]

_MOST_REGIONS = UNLABELED - 1  #: of a case: their numbers share a byte with what is unlabelled and void
_SHOWN = 10  # regions that are printed


def advise(
    folder: Path,
    output: Path | None = None,
    source: Path | None = None,
    section: str = "test",
    regions: int = 5,
    reach: float = 4.0,
    datalist: Path | None = None,
) -> dict[str, Any]:
    """What ``next_strokes.json`` gets, which is written last.

    Args:
        folder: the run's ``output_dir``.
        output: where files go; default: ``advice`` in the folder.
        source: a data list of cases without strokes, instead of the training cases.
        section: of ``source``.
        regions: of a case, at most.
        reach: how far a stroke is taken to reach, in units of the smallest voxel spacing.
        datalist: the run's, where it lies elsewhere now.

    Raises:
        ValueError: before the first case, for a run or a study that cannot be read.
    """
    if not 1 <= regions < _MOST_REGIONS or reach < 0:
        raise ValueError(f"expected 1 to {_MOST_REGIONS - 1} regions and a reach from 0, got {regions} and {reach}")
    overrides = {"held_out_share": 0.0} | ({"datalist": str(datalist)} if datalist else {})
    run = FinishedRun(folder, overrides)
    handler, class_names = run["volume_labels"], run["class_names"]
    cases = handler.cases if source is None else _unannotated(run, source, section)
    names = _file_names(cases.data)
    output = output or folder / "advice"
    told, found = [], []
    for index, name in enumerate(tqdm(names, desc="advising", unit="case", disable=None)):
        advice = advise_case(cases[index], handler, run.device, reach, regions)
        entry, ours = _write(advice, name, output, cases.transform, class_names)
        told.append({"case": name, "image": cases.data[index][IMAGE], **entry})
        found += [{"case": name, **region} for region in ours]
    report = {
        "run": str(folder),
        "reach": reach,
        "cases": sorted(told, key=lambda each: -each["score"]),
        "regions": sorted(found, key=lambda each: -each["score"]),
    }
    write_json(report, output / "next_strokes.json")
    return report


def _unannotated(run: FinishedRun, source: Path, section: str) -> Dataset:
    outside = run["allow_outside"]
    items = load_datalist(source, section, [IMAGE], outside)
    summary = check_study(source, run["map_labels"], [section], allow_outside=outside).accepted().sections[section]
    check_images(summary, run["in_channels"], run["image_axes"], run["intensity_range"])
    return Dataset(name_cases(items), load_unannotated(run))


def _file_names(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The images' names without endings; with a digest where two are alike."""
    stems = [stem_of(item[IMAGE] if isinstance(item[IMAGE], str) else item[IMAGE][0]) for item in items]
    counts = Counter(stem.casefold() for stem in stems)
    return [stem if counts[stem.casefold()] == 1 else item[CASE] for stem, item in zip(stems, items)]


def _write(
    advice: CaseAdvice, name: str, output: Path, transform: Any, class_names: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Mask and overlay of a case that has regions; what is to be told of it, and of its regions."""
    on_file = advice.file_regions(transform)
    regions = [advice.describe(on_file, k, class_names) for k in range(1, int(on_file.max()) + 1)]
    entry: dict[str, Any] = {
        "score": round(float(advice.score.sum()) * advice.voxel, 3),
        "slices": advice.slices(),
        "mask": None,
        "overlay": None,
    }
    if regions:
        meta = advice.case[IMAGE].meta
        file = meta["filename_or_obj"]
        entry |= {"mask": f"masks/{name}{output_suffix(file)}", "overlay": f"overlays/{name}.png"}
        coded = encode_prediction(on_file, file, meta.get("original_affine"))
        write_atomically(memoryview(coded), output / entry["mask"])
        path = output / entry["overlay"]
        path.parent.mkdir(parents=True, exist_ok=True)
        imsave(path, draw_panels([_panel(advice, region) for region in regions], class_names, name))
    return entry, regions


def _panel(advice: CaseAdvice, region: Mapping[str, Any]) -> Panel:
    inside = advice.regions == region["number"]
    z = int(inside.any((0, 1)).argmax())
    place = "" if region["slice"] is None else f", slice {region['slice']['index']}"
    return Panel(
        advice.image[..., z],
        advice.scribble[..., z],
        advice.prediction[..., z],
        inside[..., z],
        "\n".join([f"{region['number']}{place}", *_rivals(region)]),
        advice.spacing[1] / advice.spacing[0],
    )


def _rivals(region: Mapping[str, Any]) -> list[str]:
    return [f"{each['name']} {each['probability']:.2f}" for each in region["classes"]]


def main(arguments: Sequence[str], prog: str) -> int:
    """Advise, and print the first regions."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="output_dir of a training")
    parser.add_argument("--source", type=Path, metavar="DATALIST", help="cases without strokes, instead of the run's")
    parser.add_argument("--section", help="of --source (default: test)")
    parser.add_argument("--output", type=Path, help="folder for what is written (default: advice in the run's)")
    parser.add_argument("--regions", type=int, default=5, help="of a case, at most (default: 5)")
    parser.add_argument(
        "--reach", type=float, default=4.0, help="how far a stroke reaches, in smallest voxel spacings (default: 4)"
    )
    parser.add_argument("--datalist", type=Path, help="the run's data list, where it lies elsewhere now")
    told = parser.parse_args(arguments)
    if told.section and not told.source:
        parser.error("--section is of --source")
    output = told.output or told.run / "advice"
    report = advise(told.run, output, told.source, told.section or "test", told.regions, told.reach, told.datalist)
    for region in report["regions"][:_SHOWN]:
        place = "" if region["slice"] is None else f" slice {region['slice']['index']}"
        rivals = " or ".join(_rivals(region))
        print(f"{region['score']:10.1f}  {region['case']}{place}, region {region['number']}: {rivals}")
    if not report["regions"]:
        print("No region is in doubt: every voxel is annotated, near a stroke, or sure.")
    print(output / "next_strokes.json")
    return 0
