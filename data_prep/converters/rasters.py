# SPDX-License-Identifier: Apache-2.0
"""Scenes (GeoTIFF, or pictures with a world file), one or a folder of them, with a layer of points, lines or polygons
that have a class::

    python -m data_prep rasters --images scene.tif --strokes labels.gpkg --class-attribute class --output STUDY
    python -m data_prep rasters --images scenes --strokes roads.geojson --class-attribute kind \\
        --classes background=0 road=1 --width 4 --output STUDY
    python -m data_prep rasters --images scene.tif --strokes painted.tif --classes forest=1 water=2 --output STUDY

The layer may be GeoPackage, GeoJSON, a shapefile or FlatGeobuf in any reference system, or a raster of labels, each
connected area of which is a feature. A point is one pixel, a line at least the pixels that it runs through, --width
metres if that is more. Pixels of two classes are unlabelled, pixels without data are void. A picture without a place
may have a layer in its pixels, with rows from 0 downwards, or below 0 as QGIS has them; --width is in pixels then.

Scenes are cut into chips, of which those with labels are written, each a GeoTIFF in its place. A part of the labels
validates: whole chips (--split blocks), from which labels that train are at least --gap pixels apart, or features
(--split features), for scenes with few labels, which then show the same pixels in training and validation, with
training labels at least --gap pixels from those that validate. --fold says which part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_prep.engine.conversion import write_study
from data_prep.engine.options import StudyOptions, option, path_option
from data_prep.engine.sources import Dataset
from data_prep.engine.splits import SECTIONS
from data_prep.formats.chips import Chip, chip_files
from data_prep.formats.encoding import TIFF
from data_prep.formats.folds import apart, balanced_folds, held_apart
from data_prep.formats.scenes import check_alike, choose_bands, find_scenes, frame, grid, outside, void_of
from medwsss.keys import UNLABELED, VOID
from medwsss.rasters.bands import BANDS, BandStatistics
from medwsss.rasters.features import Features, class_table, read_features
from medwsss.rasters.georeference import Georeference
from medwsss.rasters.strokes import burn, widen
from medwsss.study.patients import SPLIT
from medwsss.study.readers import stem_of, suffix_of

_TRAINING, _VALIDATION = "training", "validation"


@dataclass(frozen=True, kw_only=True)
class Options(StudyOptions):
    """Of the command."""

    images: Path = path_option("a GeoTIFF or a picture, or a folder of them; only read")
    strokes: Path = path_option("layer of features with a class, or a raster of labels", metavar="FILE")
    class_attribute: str | None = option("field of the layer that says the class", default=None, metavar="FIELD")
    classes: tuple[str, ...] | None = option(
        "names of the classes in their order, NAME or NAME=VALUE in the layer (default: the values, sorted)",
        default=None,
        type=str,
        nargs="+",
        metavar="NAME",
    )
    layer: str | None = option("of a file with several", default=None)
    strokes_crs: str | None = option("of a layer that does not say it (EPSG:…)", default=None, metavar="CRS")
    width: float = option("of lines and points in metres, if more than a pixel (default: 0)", default=0.0, metavar="M")
    bands: tuple[str, ...] | None = option(
        "names, or numbers from 1 (default: all)", default=None, type=str, nargs="+", metavar="BAND"
    )
    nodata: float | None = option("value of missing pixels, in place of the files'", default=None, type=float)
    chip: int = option("pixels a side, about (default: %(default)s)", default=256, metavar="N")
    split: str = option("what validates (default: %(default)s)", default="blocks", choices=("blocks", "features"))
    folds: int = option("in which labels are divided (default: %(default)s)", default=5, metavar="N")
    fold: int = option("that validates, from 1; 0: none (default: %(default)s)", default=1, metavar="K")
    gap: int = option("pixels between training and validation (default: %(default)s)", default=16, metavar="N")
    seed: int = option("of the split (default: %(default)s)", default=0)


def run(options: Options) -> int:
    """Convert."""
    if options.chip < 1 or options.folds < 2 or not 0 <= options.fold <= options.folds or options.gap < 0:
        raise ValueError(
            f"expected --chip from 1, --folds from 2, --fold from 0 to that, and --gap from 0, got {options.chip}, "
            f"{options.folds}, {options.fold} and {options.gap}"
        )
    scenes = find_scenes(options.images)
    bands = choose_bands(scenes[0], options.bands)
    check_alike(scenes, bands)
    table = None if options.classes is None else class_table(options.classes)
    if table is not None and suffix_of(options.strokes).lower() in TIFF:
        table = _numbers(table, options.strokes)
    placed = Georeference.of(scenes[0]).placed
    layer = read_features(options.strokes, options.class_attribute, table, options.layer, options.strokes_crs, placed)
    chips = _in_sections(list(_chips(scenes, bands, layer, options)), layer, options)
    statistics = BandStatistics.of(scenes, bands, options.nodata)
    if statistics.dead:
        print(f"note: bands of one value or none: {', '.join(statistics.dead)}; --bands leaves them out")
    facts = {BANDS: statistics.to_dict()}
    if options.fold:
        facts[SPLIT] = {"by": options.split, "folds": options.folds, "fold": options.fold, "gap": options.gap}
    roots = [options.images] if options.images.is_dir() else []
    told = hashlib.sha256(options.strokes.read_bytes()).hexdigest()
    dataset = Dataset(stem_of(options.images), layer.names, chips, chip_files, roots, 2, len(bands), True, told, facts)
    return write_study(dataset, replace(options, allow_outside=options.allow_outside or not roots))


def _numbers(table: dict[str, str], strokes: Path) -> dict[str, str]:
    """Values of a label raster as they are compared."""
    try:
        return {f"{float(value):g}": name for value, name in table.items()}
    except ValueError:
        raise ValueError(f"expected classes as NAME=NUMBER for {strokes}, got {', '.join(table)}") from None


def _chips(scenes: Sequence[Path], bands: tuple[int, ...], layer: Features, options: Options) -> Iterator[Chip]:
    """Parts of the scenes that have labels, those that features split in their sections; and a table of what is where.

    Raises:
        ValueError: for features that are all outside, and a class without pixels.
    """
    numbers, first = np.unique(layer.numbers, return_index=True)
    pixels, conflicts, lost, reached = np.zeros(len(layer.names), int), 0, 0, np.zeros(0, int)
    held = np.zeros(len(layer), bool)
    if options.split == "features" and options.fold:
        one_hot = np.eye(len(layer.names))[layer.classes[first]]
        held = np.isin(layer.numbers, numbers[balanced_folds(one_hot, options.folds, options.seed) == options.fold - 1])
    for scene in scenes:
        place = frame(scene, layer)
        features = widen(layer.to_crs(place.crs), place, options.width)
        burnt = burn(features, place)
        conflicts, reached = conflicts + burnt.conflicts, np.union1d(reached, burnt.inside)
        maps: dict[str | None, np.ndarray] = {None: burnt.labels}
        if held.any():
            validating = burn(features.take(np.isin(features.numbers, layer.numbers[held])), place).labels
            maps = dict(zip(SECTIONS, held_apart(burnt.labels, validating != UNLABELED, options.gap)))
        for chip in grid(scene, place, bands, options.chip, options.nodata):
            at = tuple(slice(start, start + size) for start, size in zip((chip.row, chip.column), chip.shape))
            if (burnt.labels[at] == UNLABELED).all():
                continue
            void = void_of(chip)
            lost += int((void & (burnt.labels[at] != UNLABELED)).sum())
            pixels += np.bincount(burnt.labels[at][~void], minlength=UNLABELED + 1)[: len(pixels)]
            for section, labels in maps.items():
                drawn = np.where(void, VOID, labels[at])
                if (drawn < VOID).any():
                    name = chip.name + "_held_out" * (section == _VALIDATION)
                    yield replace(chip, name=name, section=section).with_labels(drawn)
    if not len(reached):
        raise ValueError(outside(scenes, layer))
    print(f"{'class':<24}{'features':>10}{'pixels':>12}")
    for name, count, own in zip(layer.names, np.bincount(layer.classes[first], minlength=len(pixels)), pixels):
        print(f"{name:<24}{count:>10}{own:>12}")
    print(
        f"{len(numbers) - len(reached)} features outside of all images, {layer.empty} without a geometry, {lost} "
        f"labelled pixels where there is no image, {conflicts} pixels of several classes (unlabelled)"
    )
    if missing := [name for name, own in zip(layer.names, pixels) if not own]:
        raise ValueError(f"expected pixels of every class, got none of {', '.join(missing)} in {options.strokes}")


def _in_sections(chips: Sequence[Chip], layer: Features, options: Options) -> list[Chip]:
    """Chips that train and chips that validate, apart from each other.

    Raises:
        ValueError: where nothing is left to train or to validate with.
    """
    placed = list(chips)
    if options.split == "blocks":
        folds = np.full(len(chips), -1)
        if options.fold:
            counts = np.stack([np.bincount(chip.labels.ravel(), minlength=UNLABELED + 1) for chip in chips])
            folds = balanced_folds(counts[:, : len(layer.names)], options.folds, options.seed)
        validates = folds == options.fold - 1 if options.fold else folds >= 0
        placed = [replace(chip, section=SECTIONS[int(v)]) for chip, v in zip(chips, validates)]
        placed = apart(placed, options.gap)
    placed = [chip if chip.section else replace(chip, section=_TRAINING) for chip in placed]
    for section in SECTIONS[: 2 if options.fold else 1]:
        if not any(chip.section == section for chip in placed):
            raise ValueError(
                f"expected labels for {section}, got none: a smaller --chip or --gap, --split features, or --fold 0"
            )
    lacking = [
        name
        for k, name in enumerate(layer.names)
        if not any(k in chip.labels for chip in placed if chip.section == _TRAINING)
    ]
    if lacking:
        print(f"warning: no training label of {', '.join(lacking)} is left by this split")
    return placed
