# SPDX-License-Identifier: Apache-2.0
"""Shapes that people drew with a tool, as the scribbles of their images::

    python -m data_prep strokes --images DIR --strokes DIR --classes background road --output SCRIBBLES
    python -m data_prep strokes --images DIR --strokes annotations.xml --classes road=street sky --output SCRIBBLES

The files are LabelMe's (NAME.json), QuPath's (NAME.geojson) or CVAT's (XML "for images", one for all or NAME.xml),
where NAME is the image's without its ending. A point is one pixel, a line those that it runs through, or --width
pixels if that is more. A scribble has the image's name: PNG, or GeoTIFF in the place of an image that has one; 255 is
unlabelled. With `python -m data_prep folder --scribbles` images and scribbles become a study.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.engine.options import option, path_option
from data_prep.engine.sources import visible
from data_prep.formats.encoding import encode_labels, is_tiff
from data_prep.formats.pictures import PICTURES
from medwsss.annotations import read_strokes
from medwsss.files import write_atomically
from medwsss.rasters.features import class_table
from medwsss.study.grid import Grid
from medwsss.study.problems import raise_problems
from medwsss.study.readers import loader, stem_of, suffix_of

_ENDINGS = (".json", ".geojson", ".xml")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of the command."""

    images: Path = path_option("folder of the images; only read")
    strokes: Path = path_option("folder of the tool's files, or one file for all images")
    output: Path = path_option("folder for the scribbles")
    classes: tuple[str, ...] = option(
        "names of the classes in their order, NAME or NAME=NAME IN THE FILE", type=str, nargs="+", metavar="NAME"
    )
    width: float = option("of lines and points in pixels, if more than one (default: 0)", default=0.0, metavar="N")


def run(options: Options) -> int:
    """Write the scribbles of images that have strokes."""
    table = class_table(options.classes)
    images = [p for p in visible(options.images, "*") if is_tiff(p) or suffix_of(p).lower() in PICTURES]
    pairs = [(image, found) for image in images if (found := _strokes_of(image, options.strokes)) is not None]
    if not pairs:
        raise ValueError(f"expected images in {options.images} with strokes in {options.strokes}, got none")
    problems = []
    for image, path in pairs:
        try:
            drawn = read_strokes(path, image, table, options.width)
        except ValueError as error:  # the user gets a list of all bad files
            problems.append(str(error))
            continue
        file = encode_labels(drawn.labels, image if is_tiff(image) else None, Grid.of(loader()(image)))
        write_atomically(memoryview(file.read()), options.output / f"{stem_of(image)}{file.suffix}")
        lost = f", {drawn.outside} shapes outside" * bool(drawn.outside)
        print(f"{image.name}: {drawn.conflicts} pixels of several classes (unlabelled){lost}")
    print(f"{len(pairs) - len(problems)} scribbles; {len(images) - len(pairs)} images have no strokes")
    raise_problems(problems)
    return 0


def _strokes_of(image: Path, strokes: Path) -> Path | None:
    if not strokes.is_dir():
        return strokes
    return next((p for p in (strokes / f"{stem_of(image)}{ending}" for ending in _ENDINGS) if p.is_file()), None)
