# SPDX-License-Identifier: Apache-2.0
"""What a file is, by its name and by its first bytes."""

from __future__ import annotations

from pathlib import Path

from monai.config import PathLike

#: Endings of the files that a folder is searched for; of those that begin alike, the longest first.
SUFFIXES = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy")

#: What begins how. Order matters: the first that fits.
_SIGNATURES = (
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"\x93NUMPY", "NPY"),
    (0, b"PK\3\4", "ZIP"),
    (128, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIfTI"),
    (4, b"n+2\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI header without its voxels"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"NRRD", "NRRD"),
    (0, b"ObjectType = Image", "MetaImage"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"ftyp", "HEIF"),
    (0, b"%PDF", "PDF"),
    (0, b"\x00\x05\x16\x07", "macOS's AppleDouble: a companion, not the image"),
)
_TO_NIFTI = "convert it to NIfTI, as with SimpleITK.WriteImage(SimpleITK.ReadImage(file), 'name.nii.gz')"
_TO_PICTURE = "save it as PNG or TIFF"
_FOREIGN = {
    ".nrrd": ("NRRD, 3D Slicer's format", _TO_NIFTI),
    ".nhdr": ("NRRD, 3D Slicer's format", _TO_NIFTI),
    ".mha": ("MetaImage", _TO_NIFTI),
    ".mhd": ("MetaImage", _TO_NIFTI),
    ".mgz": ("FreeSurfer's MGH", "convert it to NIfTI, as with nibabel.save(nibabel.load(file), 'name.nii.gz')"),
    ".mgh": ("FreeSurfer's MGH", "convert it to NIfTI, as with nibabel.save(nibabel.load(file), 'name.nii.gz')"),
    ".hdr": ("Analyze or a NIfTI pair", "convert it to one file, nibabel.save(nibabel.load(file), 'name.nii.gz')"),
    ".img": ("Analyze or a NIfTI pair", "convert it to one file, nibabel.save(nibabel.load(file), 'name.nii.gz')"),
    ".h5": ("HDF5, a container", "save its array as NPY or NIfTI"),
    ".hdf5": ("HDF5, a container", "save its array as NPY or NIfTI"),
    ".mat": ("MATLAB's container", "save its array as NPY or NIfTI"),
    ".zarr": ("Zarr, a container", "save its array as NPY, TIFF or NIfTI"),
    ".webp": ("WebP", _TO_PICTURE),
    ".jp2": ("JPEG 2000", _TO_PICTURE),
    ".gif": ("GIF", _TO_PICTURE),
    ".heic": ("HEIF", _TO_PICTURE),
    ".svg": ("SVG, drawn shapes", _TO_PICTURE),
    ".vrt": ("VRT, a recipe for GDAL", "make the file: gdal_translate file name.tif"),
    ".shp": ("shapes without pixels", "burn them into a raster: gdal_rasterize"),
    ".geojson": ("shapes without pixels", "burn them into a raster: gdal_rasterize"),
    ".json": ("text, no image", "export the drawing as a picture"),
    ".xml": ("text, no image", "export the drawing as a picture"),
    ".txt": ("text, no image", "give the image's file"),
    ".csv": ("text, no image", "give the image's file"),
}


def suffix_of(path: PathLike) -> str:
    """The ending of a file's name as it stands there: one of :data:`SUFFIXES` whatever its case, else what follows
    the last dot."""
    name = Path(path).name
    known = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    return Path(name).suffix if known is None else name[-len(known) :]


def stem_of(path: PathLike) -> str:
    """A file's name without :func:`suffix_of`."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(name))]


def kind_by_content(path: PathLike) -> str | None:
    """The format that a file's first bytes tell, ``None`` where they tell nothing."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    return next((kind for at, mark, kind in _SIGNATURES if head[at : at + len(mark)] == mark), None)


def refusal(path: PathLike) -> str:
    """Why no reader is meant for a file, and what to do with it."""
    what, remedy = _FOREIGN.get(suffix_of(path).lower(), (None, f"save it as one of {', '.join(SUFFIXES)}"))
    content = kind_by_content(path)
    told = what or (f"{content} by its first bytes" if content else "neither by its name nor by its first bytes one")
    return f"no reader for this kind of file ({told}): {remedy}"
