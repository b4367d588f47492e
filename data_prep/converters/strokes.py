# SPDX-License-Identifier: Apache-2.0
"""What people drew with a tool, as the scribbles of their images::

    python -m data_prep strokes --images DIR --strokes DIR --classes background road --output SCRIBBLES
    python -m data_prep strokes --images DIR --strokes annotations.xml --classes road=street sky --output SCRIBBLES
    python -m data_prep strokes --images DIR --strokes DIR --classes liver=1 tumour=2 --output SCRIBBLES

Below --strokes, an image NAME.png has NAME.json (LabelMe), NAME.geojson (QuPath), NAME.zip or NAME.roi (ImageJ),
NAME.CLASS.csv (napari, a layer a file), NAME.seg.nrrd or NAME.nrrd (3D Slicer, MITK), NAME.nii.gz (ITK-SNAP), NAME.png
or NAME.tif (napari, ilastik and others), or NAME.h5 (ilastik). One file may be for all images: CVAT's XML "for images",
COCO's and Label Studio's JSON, ilastik's project (.ilp).

Labels that have no name are called by their number, or as --label-names says, in the form of ITK-SNAP's label
descriptions; 0 is unlabelled unless it is declared. A point is one pixel, a line those that it runs through, or --width
pixels if that is more. A scribble has the image's name: PNG, or NIfTI or GeoTIFF in the place of the image; 255 is
unlabelled. With `python -m data_prep folder --scribbles` images and scribbles become a study.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.engine.options import option, path_option
from data_prep.engine.sources import visible
from data_prep.formats.encoding import encode_labels, is_tiff
from medwsss.annotations import ENDINGS, Absent, read_strokes
from medwsss.files import write_atomically
from medwsss.rasters.features import class_table
from medwsss.study.grid import Grid, is_nifti
from medwsss.study.problems import raise_problems
from medwsss.study.readers import SUFFIXES, loader, stem_of, suffix_of


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
    label_names: Path | None = path_option("label descriptions of ITK-SNAP (default: none)", default=None)


def run(options: Options) -> int:
    """Write the scribbles of images that have strokes."""
    table = class_table(options.classes)
    images = [path for path in visible(options.images, "*") if suffix_of(path).lower() in SUFFIXES]
    problems, count = [], 0
    for image in images:
        try:
            if not (paths := _strokes_of(image, options.strokes)):
                continue
            drawn = read_strokes(paths, image, table, options.width, options.label_names)
        except Absent as error:
            if options.strokes.is_dir():
                problems.append(str(error))
            continue
        except ValueError as error:  # the user gets a list of all bad files
            problems.append(str(error))
            continue
        placed = is_tiff(image) or is_nifti(image)
        file = encode_labels(drawn.labels, image if placed else None, Grid.of(loader()(image)))
        write_atomically(memoryview(file.read()), options.output / f"{stem_of(image)}{file.suffix}")
        lost = f", {drawn.outside} shapes outside" * bool(drawn.outside)
        print(f"{image.name}: {drawn.conflicts} pixels of several classes (unlabelled){lost}")
        count += 1
    if not count and not problems:
        raise ValueError(f"expected images in {options.images} with strokes in {options.strokes}, got none")
    print(f"{count} scribbles; {len(images) - count - len(problems)} images have no strokes")
    raise_problems(problems)
    return 0


def _strokes_of(image: Path, strokes: Path) -> list[Path]:
    """The files of an image.

    Raises:
        ValueError: for several, if they aren't the layers of napari.
    """
    if not strokes.is_dir():
        return [strokes]
    stem = stem_of(image)
    names = [f"{stem}{ending}" for ending in ENDINGS] + [f"{stem}.seg.nrrd"]
    layers = [path for path in visible(strokes, "*.csv") if path.name.startswith(f"{stem}.")]
    found = [path for name in names if (path := strokes / name).is_file() and path not in layers]
    if len(found) + bool(layers) > 1:
        told = ", ".join(path.name for path in found + layers)
        raise ValueError(f"expected one kind of strokes for {stem}, got {told} in {strokes}")
    return found + layers
