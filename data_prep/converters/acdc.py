# SPDX-License-Identifier: Apache-2.0
"""ACDC with expert scribbles, as its publishers lay it out. Either the challenge's NIfTI files::

    training/patient001/Info.cfg                            ED: 1, ES: 12: the two frames that have masks
    training/patient001/patient001_frame01.nii.gz           and patient001_frame01_gt.nii.gz
    testing/patient101/…                                    the same; optional

with ``--scribbles``, the folder of the scribble archive (``patient001_frame01_scribble.nii.gz``, 4 is unlabelled), or
WSL4MIS's HDF5 files, which hold images scaled to 0 … 1, masks and scribbles, but no voxel sizes::

    ACDC_training_volumes/patient001_frame01.h5             200 of them
    ACDC_training_slices/patient001_frame01_slice_0.h5      the same, 1902 slices; stacked where there are no volumes

Voxel sizes then come from the headers of ``--scribbles``, else they are ``--spacing``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from monai.utils import optional_import

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.options import option, path_option
from data_prep.engine.sources import Case, Dataset, Files, read_text, visible
from data_prep.formats.encoding import encode_volume
from data_prep.formats.volumes import load_volume, map_values, volume_files
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.study.integrity import verify
from medwsss.transforms import SCHEMAS, MapWeakLabels

h5py, has_h5py = optional_import("h5py")

CLASSES = ("background", "right ventricle cavity", "myocardium", "left ventricle cavity")
LABELS, SCRIBBLES = MapWeakLabels(len(CLASSES)), MapWeakLabels.of(SCHEMAS["acdc"]())
PATIENTS = [f"patient{number:03d}" for number in range(1, 101)]
KEYS = (IMAGE, SCRIBBLE, LABEL)  #: of an HDF5 file
VOLUMES, SLICES = "ACDC_training_volumes", "ACDC_training_slices"


@dataclass(frozen=True, kw_only=True)
class Options(PartialOptions):
    """Of the command."""

    scribbles: Path | None = path_option("folder of patient001_frame01_scribble.nii.gz and so on", default=None)
    spacing: tuple[float, ...] = option(
        "voxel size for HDF5 without --scribbles (default: ACDC's most frequent, 1.5625 1.5625 10)",
        default=(1.5625, 1.5625, 10.0),
        type=float,
        nargs=3,
        metavar="MM",
    )


def run(options: Options) -> int:
    """Convert."""
    source, scribbles = options.source, options.scribbles
    roots = [source] if scribbles is None else [source, scribbles]
    if any((source / name).is_dir() for name in (VOLUMES, SLICES)):
        if not has_h5py:
            raise ValueError("expected h5py for HDF5 files, got none: pip install h5py")
        cases = _hdf5_cases(source, scribbles)
        make = partial(_from_hdf5, spacing=options.spacing)
    else:
        cases = _nifti_cases(source, scribbles)
        make = partial(volume_files, labels=LABELS, scribbles=SCRIBBLES, trust_voxels=True)
    cases = existing(cases, {None: 2 * len(PATIENTS)}, options.partial)
    return convert(Dataset("ACDC", CLASSES, cases, make, roots), options)


def _nifti_cases(source: Path, scribbles: Path | None) -> list[Case]:
    training = source / "training"
    if not training.is_dir():
        raise ValueError(f"expected a folder training, {VOLUMES} or {SLICES} in {source}, got none")
    cases = []
    tests = [path for path in visible(source, "testing/patient*") if path.is_dir()]
    for folder in [training / patient for patient in PATIENTS] + tests:
        section = None if folder.parent == training else "test"
        if not folder.is_dir():
            cases.append(Case(folder.name, folder.name, {IMAGE: folder}, section))  # for the list of what is missing
            continue
        for frame in _frames(folder / "Info.cfg"):
            name = f"{folder.name}_frame{frame:02d}"
            files = {IMAGE: folder / f"{name}.nii.gz", LABEL: folder / f"{name}_gt.nii.gz"}
            if scribbles is not None and section is None:
                files[SCRIBBLE] = scribbles / f"{name}_scribble.nii.gz"
            cases.append(Case(name, folder.name, files, section))
    return cases


def _frames(path: Path) -> list[int]:
    """Numbers of the end-diastolic and the end-systolic frame."""
    frames = dict(re.findall(r"^(ED|ES):\s*(\d+)", read_text(path), re.MULTILINE))
    if frames.keys() != {"ED", "ES"}:
        raise ValueError(f"expected lines ED and ES in {path}, got {sorted(frames)}")
    return sorted(map(int, frames.values()))


def _hdf5_cases(source: Path, scribbles: Path | None) -> list[Case]:
    slices: dict[str, list[Path]] = defaultdict(list)
    for path in visible(source / (VOLUMES if (source / VOLUMES).is_dir() else SLICES), "patient*_frame*.h5"):
        slices[path.stem.partition("_slice_")[0]].append(path)
    cases = []
    for name, paths in sorted(slices.items()):
        files: dict[str, Path | tuple[Path, ...]] = {IMAGE: tuple(sorted(paths, key=_slice_number))}
        if scribbles is not None:
            files["grid"] = scribbles / f"{name}_scribble.nii.gz"
        cases.append(Case(name, name.partition("_")[0], files))
    return cases


def _slice_number(path: Path) -> int:
    return int(path.stem.partition("_slice_")[2] or 0)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Image, scribble and mask of one file, ``z y x``."""
    try:
        with h5py.File(path) as file:
            if missing := [key for key in KEYS if not isinstance(file.get(key), h5py.Dataset)]:
                raise ValueError(f"expected image, scribble and label in {path}, got none of {missing}")
            arrays = {key: np.asarray(file[key]) for key in KEYS}
    except (OSError, RuntimeError) as error:
        raise ValueError(f"expected HDF5, got {type(error).__name__} in {path}: {error}") from error
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or arrays[IMAGE].ndim not in (2, 3):
        raise ValueError(f"expected arrays of one shape, two axes or three, got {sorted(shapes)} in {path}")
    return {key: array.reshape(-1, *array.shape[-2:]) for key, array in arrays.items()}


def _from_hdf5(case: Case, spacing: Sequence[float]) -> Files:
    """NIfTI from volumes ``z y x``, or from all slices ``y x`` of one."""
    paths = [path for path in case.paths if path.suffix == ".h5"]
    if (numbers := [_slice_number(path) for path in paths]) != list(range(len(paths))):
        raise ValueError(f"expected slices 0, 1, … of {case.name}, got {numbers}")
    verify(*paths)
    slices = [_arrays(path) for path in paths]
    for path, arrays in zip(paths, slices):
        if (got := arrays[IMAGE].shape[1:]) != (first := slices[0][IMAGE].shape[1:]):
            raise ValueError(f"expected slices of the size {first} of the first one, got {got} in {path}")
    volumes = {key: np.concatenate([each[key] for each in slices]).transpose(2, 1, 0) for key in KEYS}
    affine = np.diag([*spacing, 1.0])
    if isinstance(header := case.files.get("grid"), Path):
        grid = load_volume(header)
        if grid.shape != volumes[IMAGE].shape:
            raise ValueError(f"expected the shape {volumes[IMAGE].shape} of the image, got {grid.shape} in {header}")
        affine = grid.affine
    for key, convention in ((SCRIBBLE, SCRIBBLES), (LABEL, LABELS)):
        (volumes[key],) = map_values(volumes[key][None], convention, paths[0])
    return {key: encode_volume(volume, affine) for key, volume in volumes.items()}
