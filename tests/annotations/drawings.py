# SPDX-License-Identifier: Apache-2.0
"""One drawing in the file of every tool, written by the formats' descriptions, and the pixels that it is."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image

from medwsss.keys import UNLABELED

WIDTH, HEIGHT, SLICES = 64, 48, 3
BACKGROUND, ROAD = 0, 1  # classes; in maps of numbers, background is 2 and road 1
WORDS = ("rest=background", "road")

#: A line through the middles of row 10, columns 5 to 14, and a block of 6 x 4 pixels at column 30, row 20.
LINE, BLOCK = [[5.5, 10.5], [14.5, 10.5]], [[30, 20], [36, 20], [36, 24], [30, 24]]
LINE_PLANE, BLOCK_PLANE = 1, 2  # in a stack
REFERENCE = np.full((HEIGHT, WIDTH), UNLABELED)
REFERENCE[10, 5:15], REFERENCE[20:24, 30:36] = ROAD, BACKGROUND
STACK = np.full((SLICES, HEIGHT, WIDTH), UNLABELED)
STACK[LINE_PLANE, 10, 5:15], STACK[BLOCK_PLANE, 20:24, 30:36] = ROAD, BACKGROUND
PAINTED, PAINTED_STACK = (np.choose(array, [2, 1], mode="clip") * (array != UNLABELED) for array in (REFERENCE, STACK))
AFFINE = np.array([[-0.5, 0, 0, 12.0], [0, 0, -2.0, 30.0], [0, -0.75, 0, -7.0], [0, 0, 0, 1]])  # of the volume


def labelme(line=LINE, block=BLOCK, width=WIDTH):
    shapes = [
        {"label": "road", "shape_type": "linestrip", "points": line},
        {"label": "background", "shape_type": "polygon", "points": block},
    ]
    return json.dumps({"version": "5.4.1", "imageWidth": width, "imageHeight": HEIGHT, "shapes": shapes})


def rectangle():
    shapes = [
        {"label": "road", "shape_type": "line", "points": LINE},
        {"label": "background", "shape_type": "rectangle", "points": [BLOCK[2], BLOCK[0]]},
    ]
    return json.dumps({"shapes": shapes, "imageWidth": WIDTH, "imageHeight": HEIGHT})


def cvat(inside=""):
    pairs = [";".join(f"{x},{y}" for x, y in points) for points in (LINE, BLOCK)]
    shapes = f'<polyline label="road" points={pairs[0]!r}/><polygon label="background" points={pairs[1]!r}/>'
    image = f'<image id="0" name="sub/a.png" width={str(WIDTH)!r} height={str(HEIGHT)!r}>{inside or shapes}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{image}<image name="b.png"/></annotations>'


def cvat_masks():
    """The block without its first pixel in one box of 6 x 4, and that pixel in another; runs begin with 0."""
    line = ";".join(f"{x},{y}" for x, y in LINE)
    masks = '<mask label="background" rle="1,23" left="30" top="20" width="6" height="4"/>'
    masks += '<mask label="background" rle="0,1" left="30" top="20" width="1" height="1"/>'
    return cvat(f'<polyline label="road" points={line!r}/>{masks}')


def qupath():
    def feature(name, geometry):
        told = {"objectType": "annotation", "classification": {"name": name, "color": [0, 0, 0]}}
        return {"type": "Feature", "geometry": geometry, "properties": told}

    line = {"type": "LineString", "coordinates": LINE}
    block = {"type": "Polygon", "coordinates": [[*BLOCK, BLOCK[0]]]}
    features = [feature("road", line), feature("background", block)]
    return json.dumps({"type": "FeatureCollection", "features": features})


def coco(line=None, block=None):
    """The line as a polygon around it and the block as runs down the columns, unless said otherwise."""
    around = [5, 10, 15, 10, 15, 11, 5, 11]
    runs = [30 * HEIGHT + 20] + [4, HEIGHT - 4] * 5 + [4]
    block = block or {"counts": [*runs, HEIGHT * WIDTH - sum(runs)], "size": [HEIGHT, WIDTH]}
    parts = [(1, 1, line or [around]), (1, 2, block), (7, 2, [[0, 0, 9, 0, 9, 9]])]
    annotations = [{"id": k, "image_id": i, "category_id": c, "segmentation": s} for k, (i, c, s) in enumerate(parts)]
    images = [{"id": k, "file_name": f"d/{n}.png", "width": WIDTH, "height": HEIGHT} for k, n in ((1, "a"), (7, "b"))]
    categories = [{"id": 1, "name": "road"}, {"id": 2, "name": "background"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def coco_text():
    """Masks as pycocotools 2.0.11 encodes them (``mask.encode``)."""
    size = [HEIGHT, WIDTH]
    line = {"counts": "j71_100000000000000000VY2", "size": size}
    return coco(line, {"counts": "d]14\\1000000000\\Y1", "size": size})


def label_studio(*results, image="/data/upload/1/0a1b2c3d-a.png", **told):
    """Per cent of the image; results are ``(type, value)``."""
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    found = [{"type": kind, "value": value, **size, **told} for kind, value in results]
    task = {"id": 1, "data": {"image": image}, "annotations": [{"result": found, "was_cancelled": False}]}
    return json.dumps([task, {"id": 2, "data": {"image": "b.png"}, "annotations": []}])


def label_studio_shapes():
    points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in LINE]
    box = {"x": 3000 / WIDTH, "y": 2000 / HEIGHT, "width": 600 / WIDTH, "height": 400 / HEIGHT, "rotation": 0}
    line = ("polygonlabels", {"points": points, "closed": False, "polygonlabels": ["road"]})
    return label_studio(line, ("rectanglelabels", {**box, "rectanglelabels": ["background"]}))


def label_studio_brush():
    """Masks as label-studio-converter 0.0.59 encodes them (``brush.mask2rle``)."""
    line = bytes.fromhex("00003000391bff0a1300c4fffc970c00")
    block = bytes.fromhex("00003000391bff147700c2fffb9c030bffee700c2fffb9c030bfff186f0000")
    return label_studio(
        ("brushlabels", {"format": "rle", "rle": list(line), "brushlabels": ["road"]}),
        ("brushlabels", {"format": "rle", "rle": list(block), "brushlabels": ["background"]}),
    )


def napari(kind, points, plane=None):
    """Rows before columns, and the middle of a pixel where its number is."""
    axes = [*([plane] if plane is not None else []), None, None]
    rows = ["index,shape-type,vertex-index," + ",".join(f"axis-{k}" for k in range(len(axes)))]
    for k, (x, y) in enumerate(points):
        rows.append(f"0,{kind},{k}," + ",".join(map(str, [*axes[:-2], y - 0.5, x - 0.5])))
    return "\n".join(rows) + "\n"


def region(name, kind, corners, position=0):
    """A region of ImageJ (RoiDecoder.java): a header of 64 bytes, corners from the top left, another, a name."""
    x, y = np.array(corners).T
    head = struct.pack(">4shBx4hh", b"Iout", 228, kind, y.min(), x.min(), y.max(), x.max(), len(corners))
    body = struct.pack(f">{2 * len(x)}h", *(x - x.min()), *(y - y.min()))
    head = head.ljust(56, b"\0") + struct.pack(">ii", position, 64 + len(body))
    second = struct.pack(">6i", 0, 0, 0, 0, 64 + len(body) + 64, len(name)).ljust(64, b"\0")
    return head + body + second + name.encode("utf-16-be")


def imagej(*positions):
    """A polyline (5) through pixels, a polygon (0) around some, and a polygon of one pixel with a numbered name."""
    line, block = positions or (0, 0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("road.roi", region("road", 5, [[5, 10], [9, 10], [14, 10]], line))
        archive.writestr("background.roi", region("background", 0, BLOCK, block))
        archive.writestr("more.roi", region("background-1", 0, [[30, 20], [31, 20], [31, 21], [30, 21]], block))
    return buffer.getvalue()


def nrrd(array, fields, kinds=("domain",) * 3, affine=AFFINE, encoding="gzip"):
    """A header in text and voxels, the first axis the fastest; places are to the left and to the back."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    columns = ["(" + ",".join(f"{v:g}" for v in lps[:3, k]) + ")" for k in range(3)]
    directions = ["none"] * (array.ndim - 3) + columns
    head = ["NRRD0004", "type: unsigned char", f"dimension: {array.ndim}", "space: left-posterior-superior"]
    head += ["sizes: " + " ".join(map(str, array.shape)), "space directions: " + " ".join(directions)]
    head += ["kinds: " + " ".join(["list"] * (array.ndim - 3) + list(kinds)), f"encoding: {encoding}"]
    head += ["space origin: (" + ",".join(f"{v:g}" for v in lps[:3, 3]) + ")"]
    head += [f"{key}:={value}" for key, value in fields.items()]
    voxels = array.astype(np.uint8).tobytes("F")
    return "\n".join(head).encode() + b"\n\n" + (gzip.compress(voxels, mtime=0) if encoding == "gzip" else voxels)


def slicer():
    fields = {"Segment0_Name": "road", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    fields |= {"Segment1_Name": "background", "Segment1_LabelValue": "2", "Segment1_Layer": "0"}
    return nrrd(PAINTED_STACK.T, fields)


def slicer_layers():
    """A layer a segment, only the part of the image around them, with the columns turned and the axes in another
    order."""
    layers = np.stack([PAINTED_STACK == k for k in (1, 2)]).transpose(0, 3, 2, 1)[:, 4:40, 8:26, 1:3]
    turned = layers[:, ::-1].transpose(0, 3, 1, 2)
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [39, 8, 1, 1])[:3]
    affine[:3, :3] = AFFINE[:3, [2, 0, 1]] * [1, -1, 1]
    fields = {f"Segment{k}_{key}": value for k, name in enumerate(("road", "background")) for key, value in (
        ("Name", name), ("LabelValue", 1), ("Layer", k))}  # fmt: skip
    return nrrd(turned, fields, affine=affine, encoding="raw")


def mitk():
    groups = [{"labels": [{"name": "road", "value": 1}]}, {"labels": [{"name": "background", "value": 2}]}]
    fields = {"modality": "org.mitk.multilabel.segmentation"}
    fields["org.mitk.multilabel.segmentation.labelgroups"] = json.dumps(groups)
    return nrrd(np.stack([PAINTED_STACK.T * (PAINTED_STACK.T == k) for k in (1, 2)]), fields)


def nifti():
    return gzip.compress(nib.Nifti1Image(PAINTED_STACK.T.astype(np.uint8), AFFINE).to_bytes(), mtime=0)


def picture(array=PAINTED):
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def tiff(array=PAINTED):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array.astype(np.uint8), photometric="minisblack", compression="zlib")
    return buffer.getvalue()


def tags(axes):
    return json.dumps({"axes": [{"key": axis, "typeFlags": 2, "resolution": 0} for axis in axes]})


def ilastik_export(array=PAINTED, axes="yxc"):
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["exported_data"] = array.astype(np.uint8).reshape(*array.shape, *[1] * (len(axes) - array.ndim))
        file["exported_data"].attrs["axistags"] = tags(axes)
    return buffer.getvalue()


def ilastik(name="a.png", array=PAINTED, axes="yx"):
    """A project as ilastik 1.3 writes it: the painted parts of each image, in two blocks of rows."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for k, each in enumerate(("b.png", f"sub/{name}")):
            raw = file.create_group(f"Input Data/infos/lane{k:04}/Raw Data")
            raw["filePath"], raw["axistags"] = each, tags(axes)
        file["PixelClassification/LabelNames"] = [b"road", b"background"]
        file.create_group("PixelClassification/LabelSets/labels000")
        for k, rows in enumerate((slice(0, 15), slice(15, 30))):
            part = array[..., rows, 3:40].astype(np.uint8)[..., None]
            bounds = [f"0:{size}" for size in array.shape[:-2]] + [f"{rows.start}:{rows.stop}", "3:40", "0:1"]
            file[f"PixelClassification/LabelSets/labels001/block{k:04}"] = part
            block = file[f"PixelClassification/LabelSets/labels001/block{k:04}"]
            block.attrs["blockSlice"] = f"[{','.join(bounds)}]"
    return buffer.getvalue()


@dataclass(frozen=True)
class Drawing:
    """Files of a tool for an image."""

    image: str  # "a.png", a stack "a.tif" or a volume "a.nii.gz"
    files: dict[str, Callable[[], str | bytes]]
    words: tuple[str, ...] = WORDS  # names of the classes in the files
    needs: str = "shapely"  # module that it is read with

    def write(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        for name, make in self.files.items():
            data = make()
            (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return [folder / name for name in self.files]


VALUES = ("rest=2", "road=1")
DRAWINGS = {
    "labelme": Drawing("a.png", {"a.json": labelme}),
    "rectangle": Drawing("a.png", {"a.json": rectangle}),
    "cvat": Drawing("a.png", {"annotations.xml": cvat}),
    "masks": Drawing("a.png", {"annotations.xml": cvat_masks}),
    "qupath": Drawing("a.png", {"a.geojson": qupath}),
    "coco": Drawing("a.png", {"coco.json": coco}),
    "coco_text": Drawing("a.png", {"coco.json": coco_text}),
    "label_studio": Drawing("a.png", {"project.json": label_studio_shapes}),
    "brush": Drawing("a.png", {"project.json": label_studio_brush}),
    "napari": Drawing(
        "a.png",
        {
            "a.road.csv": lambda: napari("path", LINE),
            "a.background.csv": lambda: napari("rectangle", BLOCK),
        },
    ),
    "napari_stack": Drawing(
        "a.tif",
        {
            "a.road.csv": lambda: napari("line", LINE, LINE_PLANE),
            "a.background.csv": lambda: napari("polygon", BLOCK, BLOCK_PLANE),
        },
    ),
    "imagej": Drawing("a.png", {"a.zip": imagej}, needs="roifile"),
    "imagej_stack": Drawing("a.tif", {"a.zip": lambda: imagej(LINE_PLANE + 1, BLOCK_PLANE + 1)}, needs="roifile"),
    "picture": Drawing("a.png", {"a.png": picture}, VALUES),
    "tiff": Drawing("a.png", {"a.tif": tiff}, VALUES),
    "tiff_stack": Drawing("a.tif", {"a.tif": lambda: tiff(PAINTED_STACK)}, VALUES),
    "ilastik": Drawing("a.png", {"project.ilp": ilastik}, needs="h5py"),
    "ilastik_stack": Drawing("a.tif", {"p.ilp": lambda: ilastik("a.tif", PAINTED_STACK, "zyx")}, needs="h5py"),
    "ilastik_export": Drawing("a.png", {"a.h5": ilastik_export}, VALUES, "h5py"),
    "nifti": Drawing("a.nii.gz", {"a.nii.gz": nifti}, VALUES),
    "slicer": Drawing("a.nii.gz", {"a.seg.nrrd": slicer}, needs="nrrd"),
    "slicer_layers": Drawing("a.nii.gz", {"a.seg.nrrd": slicer_layers}, needs="nrrd"),
    "mitk": Drawing("a.nii.gz", {"a.nrrd": mitk}, needs="nrrd"),
}


def write_images(folder: Path) -> Path:
    """A picture, a stack and a volume that the drawings are of."""
    folder.mkdir(parents=True)
    Image.new("L", (WIDTH, HEIGHT), 9).save(folder / "a.png")
    (folder / "a.tif").write_bytes(tiff(STACK))
    nib.Nifti1Image(STACK.T.astype(np.int16), AFFINE).to_filename(folder / "a.nii.gz")
    return folder


def expected(drawing: Drawing) -> np.ndarray:
    """``1 *S``, columns first."""
    return (REFERENCE if drawing.image == "a.png" else STACK).T[None]
