# SPDX-License-Identifier: Apache-2.0
"""The default study of image tags: seeded scenes in which a mark tells the class and only colour edges tell the body.

A scene is a smooth colour field with up to two objects. An object is a body of a random colour, which says nothing of
its class, with a small mark on it, which does: stripes along, stripes across, or a chequered pattern. Some bodies have
no mark and are background. A classifier needs the marks alone, so a map of what it looks at covers a part of the
body; the rest has to come from the image. Each image of "training" and "validation" has its tags and its mask; masks
of the former are for upper bounds and figures, the tags alone train.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from data_prep.engine.options import option, path_option
from data_prep.engine.whole import make_whole
from medwsss.files import write_atomically, write_json
from medwsss.keys import IMAGE, LABEL, TAGS, UNLABELED
from medwsss.parallel import parallel_map

CLASSES = ("background", "along", "across", "chequered")
SPLITS = ("training", "validation")
SIZE = 96  # pixels
STRIPES = 48  # side by side fill a scene; a mark has eight, of two pixels at least


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of the command."""

    output: Path = path_option("folder to write the study to")
    training: int = option("training scenes (default: %(default)s)", default=160)
    validation: int = option("validation scenes (default: %(default)s)", default=40)
    seed: int = option("of all scenes (default: %(default)s)", default=0)


def run(options: Options) -> int:
    """Make the study and print where its data list is."""
    print(make_scenes(options.output, options.training, options.validation, options.seed))
    return 0


def ensure_scenes(folder: str | Path) -> Path:
    """Path of the study's ``dataset.json`` in ``folder``; the default study is made first if that file is absent."""
    path = Path(folder) / "dataset.json"
    return path if path.exists() else make_scenes(folder)


def make_scenes(
    folder: str | Path, training: int = 160, validation: int = 40, seed: int = 0, size: int = SIZE, workers: int = 1
) -> Path:
    """Write a study of scenes as PNG files; same arguments, same bytes.

    Args:
        folder: where to; absent or empty.
        training: number of scenes.
        validation: number of scenes.
        seed: every scene draws from its own stream, so more scenes leave the first ones as they were.
        size: of a scene, in pixels; bodies and marks scale with it.
        workers: processes.

    Returns:
        path of ``dataset.json``.

    Raises:
        ValueError: ``folder`` holds something else already.
    """
    counts = dict(zip(SPLITS, (training, validation)))
    return make_whole(folder, partial(_write, counts=counts, seed=seed, size=size, workers=workers))


def _write(folder: Path, counts: dict[str, int], seed: int, size: int, workers: int) -> None:
    cases = [(split, index) for split in SPLITS for index in range(counts[split])]
    made = parallel_map(partial(_write_scene, folder, seed, size), cases, workers)
    items = dict(tqdm(made, desc="scenes", unit="scene", total=len(cases)))
    sections = {split: [items[split, index] for index in range(counts[split])] for split in SPLITS}
    description = {
        "name": "scenes",
        "description": f"Seeded scenes with image tags: marks tell the class, colour edges the body (seed {seed}).",
        "labels": {str(k): name for k, name in enumerate(CLASSES)},
        "num_classes": len(CLASSES),
        "ignore_values": [UNLABELED],
        "spatial_dims": 2,
        "in_channels": 3,
        **sections,
    }
    write_json(description, folder / "dataset.json")


def _write_scene(folder: Path, seed: int, size: int, case: tuple[str, int]) -> dict[str, object]:
    """One scene's files, and its item of the data list."""
    split, index = case
    image, mask = scene(np.random.default_rng([seed, SPLITS.index(split), index]), size)
    item: dict[str, object] = {TAGS: [CLASSES[k] for k in np.unique(mask) if k]}
    for key, array in ((IMAGE, image), (LABEL, mask)):
        item[key] = f"{key}s/{split}_{index:04d}.png"
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG")
        write_atomically(buffer.getbuffer(), folder / f"{item[key]}")
    return item


def scene(rng: np.random.Generator, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """One scene: ``size × size × 3`` colours and ``size × size`` classes, both uint8."""
    image = 110 + 30 * _field(rng, size, 0.15)[..., None] * rng.uniform(-1, 1, 3) + rng.uniform(-30, 30, 3)
    mask = np.zeros((size, size), np.uint8)
    objects = rng.choice(3, p=[0.2, 0.5, 0.3])
    kinds = [*rng.choice(np.arange(1, len(CLASSES)), objects, replace=False), *[0] * rng.integers(0, 2)]
    taken = np.zeros((size, size), bool)
    for kind in kinds:
        body, centre = _body(rng, size)
        if (body & ndimage.binary_dilation(taken, iterations=3)).any():
            continue
        taken |= body
        image[body] = rng.uniform(30, 225, 3) + 8 * _field(rng, size, 0.05)[body][:, None]
        if kind:
            mask[body] = kind
            _mark(image, body, centre, int(kind), rng)
    image += rng.normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _field(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """Smooth noise of zero mean and unit deviation; ``scale``: correlation length as a share of the scene."""
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), scale * size, mode="reflect")
    return np.asarray((field - field.mean()) / field.std())


def _body(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """An ellipse with an uneven outline, and its centre."""
    centre = rng.uniform(0.28, 0.72, 2) * size
    radii, turn = rng.uniform(0.15, 0.27, 2) * size, rng.uniform(0, np.pi)
    y, x = np.indices((size, size)) + 0.5
    u, v = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn), (y - centre[1]) * np.cos(turn)
    v = v - (x - centre[0]) * np.sin(turn)
    return (u / radii[0]) ** 2 + (v / radii[1]) ** 2 < 1 + 0.15 * _field(rng, size, 0.08), centre


def _mark(image: np.ndarray, body: np.ndarray, centre: np.ndarray, kind: int, rng: np.random.Generator) -> None:
    """Black and white stripes or squares in a square near the centre."""
    size = len(image)
    stripe = max(2, round(size / STRIPES))
    side = 8 * stripe
    left, top = np.clip(centre + rng.uniform(-0.06, 0.06, 2) * size - side / 2, 0, size - side).astype(int)
    rows, columns = (np.indices((side, side)) + rng.integers(0, 2 * stripe)) // stripe % 2
    pattern = {1: rows, 2: columns, 3: rows ^ columns}[kind]
    patch = (slice(top, top + side), slice(left, left + side))
    inside = body[patch]
    image[patch][inside] = 40 + 170 * pattern[inside][:, None]
