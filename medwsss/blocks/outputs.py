# SPDX-License-Identifier: Apache-2.0
"""What comes of blocks when all are done: a map of classes in the place of the image."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from medwsss.blocks.jobs import leftovers, read_block
from medwsss.blocks.plan import Case, Plan
from medwsss.files import delivered, finish, write_atomically
from medwsss.keys import IMAGE, UNLABELED
from medwsss.parallel import parallel_map
from medwsss.rasters import RasterWriter
from medwsss.study.outputs import encode_prediction, output_suffix
from medwsss.study.readers import suffix_of
from medwsss.study.windows import Window

__all__ = ["class_map", "finish_case"]

logger = logging.getLogger(__name__)

Maps = Iterator[tuple[Window, np.ndarray]]  # classes of blocks

#: By which a class has to have more than its equal share: pseudo-labels that no stroke has reached have none. What a
#: network says counts however little it is, and is 0 in all classes where there is no image.
_DECIDED = {"labels": 1e-3, "infer": -1e-3}


class Damaged(OSError):
    """Blocks on the disk are not what was written, twice in a row."""


def class_map(y: np.ndarray, task: str) -> np.ndarray:
    """Class numbers ``*S`` of distributions ``K *S``, 255 where there is none.

    Example:
        >>> class_map(np.array([[0.5, 0.9], [0.5, 0.1]]), "labels").tolist()
        [255, 0]
    """
    decided = y.max(0) > 1 / len(y) + _DECIDED[task]
    return np.where(decided, y.argmax(0), UNLABELED).astype(np.uint8)


def finish_case(folder: Path, plan: Plan, index: int, workers: int = 1) -> Path | None:
    """Write the class map of a case whose blocks are done; of a zarr image there is none, as it may be of any size.

    A GeoTIFF, which predictions are, and NPY are written block by block, a map of another format as a whole, a byte a
    voxel.

    Returns:
        the file, or ``None``.

    Raises:
        Damaged: when a block has to be done anew, whose mark is gone then.
    """
    case = plan.cases[index]
    for path in leftovers(folder, case):
        path.unlink(missing_ok=True)
    image = case.files[IMAGE] if isinstance(case.files[IMAGE], str) else case.files[IMAGE][0]
    suffix = suffix_of(image).lower()
    if suffix == ".zarr":
        for _ in _maps(folder, plan, case, workers):
            pass
        return None
    scene = suffix in (".tif", ".tiff") or plan.task == "infer"  # of a picture, too
    name = f"{case.name}_{plan.task}{'.tif' if scene else output_suffix(image)}"
    with delivered(folder) as here:
        _write(here / name, image, case, plan.class_names if scene else None, _maps(folder, plan, case, workers))
    return folder / name


def _write(output: Path, image: str, case: Case, scene: Sequence[str] | None, maps: Maps) -> None:
    """A map from parts of it; a scene's with names of classes."""
    if scene:
        with RasterWriter(output, image, scene) as writer:
            for window, labels in maps:
                writer.write(labels[None], *(low for low, _ in window.core))
    elif output.suffix == ".npy":
        written = output.with_name(output.name + ".tmp")
        mapped = open_memmap(written, "w+", np.uint8, tuple(case.shape))
        _fill(mapped, maps)
        mapped.flush()
        finish(written, output)
    else:
        whole = np.empty(case.shape, np.uint8)
        _fill(whole, maps)
        upright = whole.swapaxes(0, 1) if output.suffix == ".png" else whole  # pictures: columns first
        write_atomically(memoryview(encode_prediction(upright, image)), output)


def _fill(whole: np.ndarray, maps: Maps) -> None:
    for window, labels in maps:
        whole[tuple(slice(*ends) for ends in window.core)] = labels


def _maps(folder: Path, plan: Plan, case: Case, workers: int) -> Maps:
    """Classes of each block, in the blocks' order."""
    wrong, undecided = [], 0
    classes = partial(_classes, folder, plan.task, case)
    for block, labels in parallel_map(classes, range(len(case.blocks)), workers, ordered=True):
        if labels is None:
            wrong.append(block)
            continue
        undecided += int((labels == UNLABELED).sum())
        yield case.blocks[block], labels
    if wrong:
        raise Damaged(f"expected what was written, got something else in blocks {wrong} of {case.name}: run again")
    if undecided:
        share = undecided / np.prod(case.shape)
        why = "void" if plan.task == "infer" else "void, or too far from strokes to have a label"
        logger.info("%.3g of %s is %s (255).", share, case.name, why)


def _classes(folder: Path, task: str, case: Case, block: int) -> np.ndarray | None:
    y = read_block(folder, case, block)
    return None if y is None else class_map(y, task)
