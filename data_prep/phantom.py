# SPDX-License-Identifier: Apache-2.0
"""The default study: seeded 3-D phantoms with scribbles, made in a few seconds, no download.

Each volume shows a body in air with four structures whose shape, pose and grey values vary from volume to volume:

1. ``organ``      big, smooth, soft;
2. ``neighbour``  touches the organ and is only a little brighter;
3. ``mass``       the organ's mean grey value, but textured;
4. ``vessel``     a thin bright curved tube.

Background holds look-alikes (a bright bone, a soft lump), so that grey value alone decides nothing. Partial-volume
blur, a smooth bias field and noise come on top. Grey values are on the 0 to 255 scale on which contrast bandwidths are
usually quoted. Scribbles cover 0.4 % of the voxels.

With --present P each structure is there with that probability, and the list has tags: which ones a volume shows, the
weakest of all supervision, from which one can learn only where volumes lack what others have.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage
from skimage.graph import route_through_array
from tqdm import tqdm

from data_prep.engine.options import option, path_option
from data_prep.engine.whole import make_whole
from medwsss.files import write_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, TAGS, UNLABELED

CLASSES = ("background", "organ", "neighbour", "mass", "vessel")
SPACING = (1.0, 1.0, 2.5)  # mm
LEAST_SIDE = 7  # voxels; below, structures vanish
SLICE_STEP = 3  # a hand annotates every third slice
SPLITS = ("training", "validation")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of the command."""

    output: Path = path_option("folder to write the study to")
    training: int = option("training volumes (default: %(default)s)", default=16)
    validation: int = option("validation volumes (default: %(default)s)", default=4)
    seed: int = option("of all volumes (default: %(default)s)", default=0)
    shape: tuple[int, int, int] = option(
        "voxels along each axis, with which the anatomy scales (default: 64 64 28)",
        default=(64, 64, 28),
        nargs=3,
        type=int,
        metavar=("X", "Y", "Z"),
    )
    present: float = option("probability of each structure; below 1 the list has tags", default=1.0, metavar="P")


def run(options: Options) -> int:
    """Make the study and print where its data list is."""
    counts = (options.training, options.validation)
    print(make_phantom_study(options.output, *counts, options.seed, options.shape, options.present))
    return 0


def ensure_phantom_study(folder: str | Path) -> Path:
    """Path of the study's ``dataset.json`` in ``folder``; the default study is made first if that file is absent."""
    path = Path(folder) / "dataset.json"
    return path if path.exists() else make_phantom_study(folder)


def make_phantom_study(
    folder: str | Path,
    training: int = 16,
    validation: int = 4,
    seed: int = 0,
    shape: tuple[int, int, int] = (64, 64, 28),
    present: float = 1.0,
) -> Path:
    """Write a phantom study as NIfTI files with a Decathlon style ``dataset.json``; same arguments, same bytes.

    The study appears in ``folder`` complete or not at all: it is written beside it and renamed at the end.

    Args:
        folder: where to; absent or empty.
        training: number of volumes with image, scribble and (for the upper bound) dense label.
        validation: number of volumes with image and dense label.
        seed: every volume draws from its own stream, so more volumes leave the first ones as they were.
        shape: voxels; anatomy scales with it, spacing stays 1 x 1 x 2.5 mm.
        present: probability of each structure to be there; below 1 items have ``tags``.

    Returns:
        path of ``dataset.json``.

    Raises:
        ValueError: ``folder`` holds something else already, ``present`` is no probability above 0, or an axis has fewer
            voxels than the structures need.
    """
    if not 0 < present <= 1:
        raise ValueError(f"expected a probability above 0 and to 1 that a structure is present, got {present}")
    if min(shape) < LEAST_SIDE:
        raise ValueError(f"expected at least {LEAST_SIDE} voxels along each axis, got {' x '.join(map(str, shape))}")
    counts = dict(zip(SPLITS, (training, validation)))
    return make_whole(folder, lambda study: _write_study(study, counts, seed, shape, present))


def _write_study(folder: Path, counts: dict[str, int], seed: int, shape: tuple[int, int, int], present: float) -> None:
    items: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    cases = [(split, index) for split in SPLITS for index in range(counts[split])]
    for split, index in tqdm(cases, desc="phantom study", unit="volume"):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        # from a stream of its own, so that what is there is as it would be beside the others
        there = np.random.default_rng([seed, SPLITS.index(split), index, 1]).random(len(CLASSES)) < present
        image, label = _phantom(rng, shape, there)
        volumes = {IMAGE: image, LABEL: label}
        if split == "training":
            volumes[SCRIBBLE] = _scribble(rng, label)
        item: dict[str, Any] = {TAGS: [CLASSES[k] for k in np.unique(label) if k]} if present < 1 else {}
        for key, volume in volumes.items():
            path = folder / f"{key}s" / f"{split}_{index:03d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(volume, np.diag((*SPACING, 1.0))), path)
            item[key] = path.relative_to(folder).as_posix()
        items[split].append(item)
    description = {
        "name": "phantom",
        "description": f"Seeded synthetic volumes with scribbles in one of {SLICE_STEP} axial slices (seed {seed}).",
        "labels": {str(k): name for k, name in enumerate(CLASSES)},
        "num_classes": len(CLASSES),
        "ignore_value": UNLABELED,
        **items,
    }
    write_json(description, folder / "dataset.json")


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Smooth noise of zero mean and unit deviation; ``scale``: correlation length as a fraction of the volume."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), [scale * n for n in shape], mode="reflect")
    return np.asarray((field - field.mean()) / field.std())


def _phantom(rng: np.random.Generator, shape: tuple[int, ...], there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One volume, with the structures that are to be there: int16 grey values and uint8 labels."""
    x = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    x = x + 0.04 * np.stack([_smooth_field(rng, shape, 0.12) for _ in shape])  # uneven outlines
    x = x + rng.uniform(-0.08, 0.08, (3, 1, 1, 1))  # pose: shift, then a turn about the axis of the slices
    turn, mirror = rng.uniform(-0.4, 0.4), rng.choice([-1, 1])
    x = np.stack(
        [np.cos(turn) * x[0] - np.sin(turn) * x[1], mirror * (np.sin(turn) * x[0] + np.cos(turn) * x[1]), x[2]]
    )

    def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        c = np.add(centre, rng.uniform(-0.05, 0.05, 3)).reshape(3, 1, 1, 1)
        r = np.multiply(radii, rng.uniform(0.85, 1.15, 3)).reshape(3, 1, 1, 1)
        return np.asarray((((x - c) / r) ** 2).sum(0) < 1)

    wave, phase = rng.uniform(1.5, 2.5), rng.uniform(0, 2 * np.pi)  # the vessel's centre winds along the slices
    centre = np.stack([-0.42 + 0.16 * np.sin(wave * x[2] + phase), -0.1 + 0.3 * np.cos(wave * x[2] + phase)])
    vessel = (((x[:2] - centre) ** 2).sum(0) < rng.uniform(0.09, 0.12) ** 2) & (abs(x[2]) < 0.85)

    body = ellipsoid((0, 0, 0), (0.95, 0.85, 1.6))
    shades = np.where(body, 90.0, 8.0)
    organ_grey = rng.uniform(130, 145)
    for centre_, radii, grey in (
        ((-0.55, 0.5, 0.1), (0.2, 0.16, 0.5), rng.uniform(195, 215)),  # bone: as bright as the vessel
        ((0.1, -0.62, -0.1), (0.3, 0.14, 0.5), organ_grey),  # lump: as grey as the organ
    ):
        shades[ellipsoid(centre_, radii)] = grey

    label = np.zeros(shape, np.uint8)
    label[ellipsoid((0.3, 0.0, 0.0), (0.42, 0.42, 0.75)) & there[1]] = 1
    label[ellipsoid((0.1, 0.5, 0.1), (0.34, 0.25, 0.6)) & there[2] & (label == 0)] = 2
    label[ellipsoid((0.3, -0.25, 0.15), (0.26, 0.26, 0.5)) & there[3]] = 3
    label[vessel & there[4]] = 4
    for k, grey in enumerate(
        (organ_grey, organ_grey + rng.uniform(18, 26), organ_grey, rng.uniform(195, 215)), start=1
    ):
        shades[label == k] = grey

    texture = ndimage.gaussian_filter(rng.standard_normal(shape), [1.2 / s for s in SPACING])
    shades = shades + np.where(label == 3, 22.0, 3.0) * texture / texture.std()
    blurred = ndimage.gaussian_filter(shades, [0.9 / s for s in SPACING])  # partial volume
    image = blurred * np.exp(0.1 * _smooth_field(rng, shape, 0.3)) + rng.normal(0, 7, shape)
    return np.clip(np.rint(image), 0, 255).astype(np.int16), label


def _scribble(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    """A stroke in each class of every ``SLICE_STEP``-th slice, ``UNLABELED`` elsewhere."""
    scribble = np.full_like(label, UNLABELED)
    for z in range(1, label.shape[2], SLICE_STEP):
        for k in range(len(CLASSES)):
            components, count = ndimage.label(label[..., z] == k)
            for component in range(1, count + 1):
                rows, columns = _stroke(rng, components == component)
                scribble[rows, columns, z] = k
    return scribble


def _stroke(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """2 x length indices of a one pixel wide path in ``mask``: near its middle, trembling, shorter than it could be.

    The path is the cheapest one between two far points, where a pixel costs more the nearer it lies to the border; it
    ends early, as a hand does, and pixels outside the mask cannot be entered.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    inside = np.argwhere(depth > 0.5 * depth.max())
    ends = inside[rng.integers(len(inside), size=8)]  # of a few random points, the two farthest apart
    far = ((ends[:, None] - ends[None]) ** 2).sum(-1)
    start, stop = (ends[i] for i in np.unravel_index(far.argmax(), far.shape))
    cost = np.where(mask, (1 + rng.uniform(0, 1, mask.shape)) / np.maximum(depth, 0.5), -1)  # negative: no way through
    path, _ = route_through_array(cost, start, stop)
    length = max(1, round(rng.uniform(0.4, 0.8) * len(path)))
    return np.transpose(path[:length])
