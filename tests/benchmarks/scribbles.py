# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.benchmarks.scribbles``: simulated strokes against those of experts on ACDC and MedScribble.

On every slice and for every class that an expert has scribbled, the same numbers are taken of the expert's and of the
simulated scribble of that slice; the table has their means. Writes ``docs/scribbles.png``, means and spread as
``docs/benchmarks/scribbles.json``, and the table into ``docs/scribbles.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.image import imsave
from monai.transforms import LoadImage
from skimage.measure import label as connected
from skimage.morphology import skeletonize

from medwsss.keys import VOID
from medwsss.reports.pictures import class_colors
from medwsss.study.datalist import load_datalist, read_class_names, read_schema
from medwsss.transforms import MapWeakLabels, SimulateScribble
from medwsss.transforms.scribbles.strokes import depths

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
DOCS = ROOT / "docs"
MEASURES = ("coverage", "length", "width", "distance", "agreement", "strokes")
HANDS = {
    "default": {},
    "steady": {"jitter": 0.0},
    "border": {"kind": "border"},
}


class Study(NamedTuple):
    """A data set with strokes of experts."""

    name: str
    keys: list[str]  #: of the experts' scribbles
    width: int  #: of their brush


STUDIES = (
    Study("acdc", ["scribble"], 1),
    Study("medscribble", ["scribble_a0", "scribble_a1", "scribble_a2"], 3),
)


def cases(study: Study) -> Iterator[tuple[np.ndarray, list[np.ndarray], np.ndarray]]:
    """Mask, experts' scribbles and image of every case: ``X Y Z`` each, in our values."""
    path = DATA / study.name / "dataset.json"
    labels, load = MapWeakLabels.of(read_schema(path)), LoadImage(ensure_channel_first=True)
    keys = ["image", "mask", *study.keys]
    for item in load_datalist(path, "training", keys):
        image, *maps = (np.atleast_3d(np.asarray(load(item[key]))[0]) for key in keys)
        mask, *scribbles = (np.asarray(labels(array)) for array in maps)
        yield mask, scribbles, image


def measure(scribble: np.ndarray, mask: np.ndarray, k: int, depth: np.ndarray) -> list[float]:
    """The numbers of ``MEASURES`` for class ``k`` on one slice.

    Share of the class's pixels that is annotated; length of the strokes' skeleton in units of the square root of the
    class's area; pixels of the strokes for each one of the skeleton; mean distance to the border of what lies in the
    class, in pixels; share of the strokes that does lie in it; connected strokes.
    """
    stroke, region = scribble == k, mask == k
    length = max(1, int(skeletonize(stroke).sum()))
    inside = stroke & region
    return [
        stroke.sum() / region.sum(),
        length / region.sum() ** 0.5,
        stroke.sum() / length,
        depth[inside].mean() if inside.any() else np.nan,
        inside.sum() / stroke.sum(),
        connected(stroke, connectivity=2).max(),
    ]


def compare(study: Study) -> dict[str, dict[int, np.ndarray]]:
    """Per hand and class, a row of measures for every slice that an expert has scribbled."""
    rows: dict[str, dict[int, list[list[float]]]] = {name: {} for name in ("expert", *HANDS)}
    num_classes = read_schema(DATA / study.name / "dataset.json").num_classes
    hands = {name: SimulateScribble(num_classes, width=study.width, **options) for name, options in HANDS.items()}
    for index, (mask, experts, _) in enumerate(cases(study)):
        drawn = {name: [np.asarray(hand.set_random_state(index)(mask[None]))[0]] for name, hand in hands.items()}
        for z in range(mask.shape[2]):
            depth = depths(connected(mask[..., z] + 1, connectivity=2))
            for k in set(np.unique(mask[..., z])) & {*range(num_classes)}:
                if any((expert[..., z] == k).any() for expert in experts):
                    for name, scribbles in {"expert": experts, **drawn}.items():
                        rows[name].setdefault(int(k), []).extend(
                            measure(s[..., z], mask[..., z], k, depth) for s in scribbles if (s[..., z] == k).any()
                        )
    return {name: {k: np.array(v) for k, v in sorted(classes.items())} for name, classes in rows.items()}


def table(study: Study, results: dict[str, dict[int, np.ndarray]]) -> list[str]:
    """Markdown."""
    names = read_class_names(DATA / study.name / "dataset.json", len(results["expert"]))
    lines = [f"| {study.name} | hand | slices | " + " | ".join(MEASURES) + " |", "|---" * (3 + len(MEASURES)) + "|"]
    for k, name in enumerate(names):
        for hand, classes in results.items():
            c, l, w, d, a, s = np.nanmean(classes[k], axis=0)
            numbers = f"{c:.1%} | {l:.2f} | {w:.2f} | {d:.1f} | {a:.1%} | {s:.2f}"
            lines.append(f"| {name if hand == 'expert' else ''} | {hand} | {len(classes[k])} | {numbers} |")
    return lines


def picture(columns: int = 6, size: int = 110) -> np.ndarray:
    """Experts above, the default hand below, side by side for slices of both studies."""
    rows = []
    for study, zoom in zip(STUDIES, (2, 1)):
        chosen = list(cases(study))
        side = size if zoom == 2 else 220
        num_classes = 4 if study.name == "acdc" else 2
        hand = SimulateScribble(num_classes, width=study.width)
        pair = []
        for index in np.linspace(0, len(chosen) - 1, columns).astype(int):
            mask, experts, image = chosen[index]
            z = (mask.shape[2] - 1) // 2 if index % 2 else mask.shape[2] // 3
            drawn = np.asarray(hand.set_random_state(int(index))(mask[None]))[0]
            center = np.argwhere(mask[..., z] > 0).mean(0).astype(int)
            low = [min(max(0, c - side // 2), max(0, n - side)) for c, n in zip(center, mask.shape)]
            window = (*(slice(a, a + side) for a in low), z)
            panels = [paint(image[window], mask[window], s[window], num_classes) for s in (experts[0], drawn)]
            padded = [np.pad(p, [(0, side - n) for n in p.shape[:2]] + [(0, 0)]) for p in panels]
            pair.append(np.concatenate([np.kron(p, np.ones((zoom, zoom, 1))) for p in padded], 1))
        rows.append(np.concatenate(pair, 0))
    return np.concatenate(rows, 1).swapaxes(0, 1)


def paint(image: np.ndarray, mask: np.ndarray, scribble: np.ndarray, num_classes: int) -> np.ndarray:
    """The image in grey, its mask faint, its strokes bright."""
    colors = class_colors(num_classes)
    colors[0] = (0.55, 0.75, 1.0)
    grey = np.repeat((image / max(np.percentile(image, 99), 1)).clip(0, 1)[..., None] * 0.8, 3, -1)
    faint = np.where((mask > 0)[..., None], 0.65 * grey + 0.35 * colors[np.minimum(mask, num_classes - 1)], grey)
    strokes = colors[np.minimum(scribble, num_classes - 1)]
    return np.where((scribble < VOID)[..., None], strokes, faint)


def spread(rows: np.ndarray) -> dict[str, dict[str, float]]:
    """Mean, deviation and deciles of every measure."""
    summaries = {"mean": np.nanmean(rows, 0), "deviation": np.nanstd(rows, 0)}
    summaries |= {f"{q} %": np.nanpercentile(rows, q, 0) for q in (10, 25, 50, 75, 90)}
    return {m: {name: round(float(v[i]), 4) for name, v in summaries.items()} for i, m in enumerate(MEASURES)}


def main() -> None:
    """Measure, and write table, numbers and picture."""
    raw, lines = {}, []
    for study in STUDIES:
        results = compare(study)
        lines += [*table(study, results), ""]
        raw[study.name] = {
            hand: {str(k): {"slices": len(v), **spread(v)} for k, v in classes.items()}
            for hand, classes in results.items()
        }
    (DOCS / "benchmarks" / "scribbles.json").write_text(json.dumps(raw, indent=1) + "\n")
    page = DOCS / "scribbles.md"
    marked = "<!-- table -->\n" + "\n".join(lines) + "<!-- end -->"
    page.write_text(re.sub("<!-- table -->.*<!-- end -->", lambda _: marked, page.read_text(), flags=re.S))
    imsave(DOCS / "scribbles.png", picture())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
