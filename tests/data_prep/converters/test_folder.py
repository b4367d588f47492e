# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import shutil
import struct
import unicodedata
import zlib

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage
from PIL import Image

from data_prep.engine.summary import training_command
from medwsss.keys import UNLABELED, VOID
from medwsss.study.readers import StudyReader
from tests.data_prep import trees
from tests.data_prep.pictures import convert, photograph, pixels, refusal, save

MASK = np.arange(48).reshape(6, 8) % 3  # 0, 1: classes; 2: nobody annotated
CLASSES = np.where(MASK == 2, UNLABELED, MASK)
TABLE = {"labels": {"other": 0, "road": 1}, "ignore_values": [2]}
COLORS = {"labels": {"other": [10, 20, 30], "road": [30, 20, 10]}, "ignore_values": [[0, 0, 0]]}
PAINTED = np.array([[10, 20, 30], [30, 20, 10], [0, 0, 0]])[MASK]
NAMES = ("a1", "a2", "b1", "b2", "c1")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(TABLE))
    return path


@pytest.fixture
def source(tmp_path):
    """Five images with masks."""
    for name in NAMES:
        photograph(tmp_path / f"data/images/{name}.png")
        save(tmp_path / f"data/labels/{name}.png", MASK)
    return tmp_path / "data"


def raster(path, bands, nodata=None):
    """Bands first."""
    rasterio = pytest.importorskip("rasterio")
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    place = rasterio.transform.from_origin(5e5, 5e6, 30, 30)
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", nodata=nodata, transform=place, crs="EPSG:32633", **shape) as file:
        file.write(bands)


def loaded(made, section, name, key):
    """As training reads it: ``C *S``."""
    return LoadImage(reader=StudyReader(), ensure_channel_first=True)(made.folder / made[section][name][key]).numpy()


def all_items(made):
    return made["training"] | made["validation"]


def test_split_by_patient(source, table, tmp_path):
    options = ("--labels", table, "--patient-pattern", "^.", "--validation-share", 0.4)
    sides = set()
    for seed in range(8):
        made = convert("folder", source, tmp_path / str(seed), *options, "--seed", seed)
        training, validation = made.names("training"), made.names("validation")
        assert sorted(training + validation) == sorted(NAMES)
        assert not {name[0] for name in training} & {name[0] for name in validation}
        assert {item["patient"] for item in made.content["training"]} == {name[0] for name in training}
        sides.add(tuple(validation))
    assert len(sides) > 1
    assert np.array_equal(made.pixels("training", training[0], "label"), CLASSES)
    assert (made.content["num_classes"], made.content["spatial_dims"], made.content["in_channels"]) == (2, 2, 3)
    assert list(made.content["labels"].values()) == ["other", "road"]


@pytest.mark.parametrize(
    ("images", "masks", "patterns"),
    [
        ("{0}_img.png", "{0}_mask.png", ("--image-pattern", r"(.+)_img\.png", "--mask-pattern", r"(.+)_mask\.png")),
        ("site/{0}.PNG", "site/{0}.png", ()),
        ("{0}/image.png", "{0}.png", ("--image-pattern", r"(.+)/image\.png")),
    ],
)
def test_names(table, tmp_path, images, masks, patterns):
    for name in NAMES:
        photograph(tmp_path / "data/scans" / images.format(name))
        save(tmp_path / "data/manual" / masks.format(name), MASK)
    for hidden in (".hidden.png", "._a1_mask.png", ".ipynb_checkpoints/a1.png"):
        save(tmp_path / "data/manual" / hidden, MASK)
    (tmp_path / "data/manual/notes.txt").write_text("not a picture")
    folders = ("--images", "scans", "--masks", "manual")
    made = convert("folder", tmp_path / "data", tmp_path / "study", "--labels", table, *folders, *patterns)
    assert [name[-2:] for name in sorted(all_items(made))] == list(NAMES)


def test_colours(source, tmp_path):
    (tmp_path / "colors.json").write_text(json.dumps(COLORS))
    for name in NAMES:
        save(source / f"labels/{name}.png", PAINTED)
    made = convert("folder", source, tmp_path / "study", "--labels", tmp_path / "colors.json")
    assert np.array_equal(made.pixels("training", made.names("training")[0], "label"), CLASSES)


def test_scribbles(source, table, tmp_path):
    """Images with strokes alone train, those with a mask alone validate, and a split of the others is by seed."""
    strokes = np.where(np.arange(8) < 3, MASK, 2)
    for name in NAMES[:4]:
        save(source / f"strokes/{name}.png", strokes)
    (source / "labels/a1.png").unlink()
    sides = set()
    for seed in range(6):
        options = ("--labels", table, "--scribbles", "strokes", "--seed", seed)
        made = convert("folder", source, tmp_path / str(seed), *options)
        training, validation = made.names("training"), made.names("validation")
        assert "a1" in training and "c1" in validation and sorted(training + validation) == list(NAMES)
        assert all("scribble" in item for item in made["training"].values())  # one command trains on all of them
        assert all("label" in item for item in made["validation"].values())
        sides.add(tuple(validation))
    assert len(sides) > 1 and all(len(side) == 2 for side in sides)
    assert "label" not in made["training"]["a1"]
    assert np.array_equal(made.pixels("training", "a1", "scribble"), np.where(strokes == 2, UNLABELED, strokes))


@pytest.mark.parametrize(("share", "held_out"), [(0.2, 1), (0.4, 2), (0, 0)])
def test_where_nothing_has_a_mask_held_out_strokes_validate(source, table, tmp_path, share, held_out):
    (source / "labels").rename(source / "strokes")
    options = ("--labels", table, "--scribbles", "strokes", "--validation-share", share)
    made = convert("folder", source, tmp_path / "study", *options)
    assert (len(made.content["training"]), len(made.content["validation"])) == (5 - held_out, held_out)
    assert all(item.keys() == {"image", "scribble", "patient"} for item in all_items(made).values())
    command = training_command(made.folder / "dataset.json")
    assert "annotation_key" not in command  # scribbles train


def test_masks_that_are_asked_for_have_to_be_there(source, table, tmp_path, capsys):
    (source / "labels").rename(source / "strokes")
    options = ("--labels", table, "--scribbles", "strokes", "--masks", "manual")
    assert "expected a folder, got none at" in refusal(capsys, "folder", source, tmp_path / "study", *options)


def test_a_patient_of_strokes_alone_and_of_a_mask_alone_is_refused(source, table, tmp_path, capsys):
    """Whoever trains does not validate."""
    for name in ("a1", "b1"):
        save(source / f"strokes/{name}.png", MASK)
    (source / "labels/a1.png").unlink()
    options = ("--labels", table, "--scribbles", "strokes", "--patient-pattern", "^.")
    message = refusal(capsys, "folder", source, tmp_path / "study", *options)
    assert "for all images of a patient, got both of a" in message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".npy", ".nii.gz"])
def test_formats_of_images(source, table, tmp_path, suffix):
    """Whatever the format: the image keeps its values, and the mask lies on it the right way round."""
    grey = np.arange(48).reshape(6, 8).astype(np.uint8) * 5
    for path in (source / "images").iterdir():
        path.unlink()
    for name in NAMES:
        path = source / f"images/{name}{suffix}"
        if suffix == ".npy":
            np.save(path, grey.astype(np.float32))
        elif suffix == ".nii.gz":
            nib.save(nib.Nifti1Image(grey.T, np.eye(4)), path)
        elif suffix == ".tif":
            raster(path, grey[None])
        else:
            save(path, grey, **({"quality": 100} if suffix == ".jpg" else {}))
    made = convert("folder", source, tmp_path / "study", "--labels", table)
    name = made.names("validation")[0]
    image, label = (loaded(made, "validation", name, key) for key in ("image", "label"))
    assert image.shape == label.shape == (1, 8, 6) and made.content["in_channels"] == 1
    assert abs(image[0].T - grey).max() <= (2 if suffix == ".jpg" else 0)
    assert np.array_equal(label[0].T, CLASSES)


@pytest.mark.parametrize("kind", ["palette", "tif", "npy"])
def test_formats_of_masks(source, table, tmp_path, kind):
    for name in NAMES:
        (source / f"labels/{name}.png").unlink()
        if kind == "palette":
            save(source / f"labels/{name}.png", MASK, "P")
        elif kind == "tif":
            raster(source / f"labels/{name}.tif", MASK[None].astype(np.uint8))
        else:
            np.save(source / f"labels/{name}.npy", MASK)
    made = convert("folder", source, tmp_path / "study", "--labels", table)
    assert np.array_equal(made.pixels("validation", made.names("validation")[0], "label"), CLASSES)


def test_volumes(table, tmp_path):
    rng = np.random.default_rng(0)
    masks = {name: rng.integers(0, 3, (5, 4, 3)) for name in NAMES}
    for name, mask in masks.items():
        trees.save(tmp_path / f"data/images/{name}.nii.gz", (100 * mask).astype(np.int16))
        trees.save(tmp_path / f"data/labels/{name}.nii.gz", mask.astype(np.uint8))
    made = convert("folder", tmp_path / "data", tmp_path / "study", "--labels", table)
    assert (made.content["spatial_dims"], made.content["in_channels"]) == (3, 1)
    name = made.names("training")[0]
    assert np.array_equal(
        loaded(made, "training", name, "label")[0], np.where(masks[name] == 2, UNLABELED, masks[name])
    )
    assert nib.load(made.folder / made["training"][name]["label"]).header.get_zooms() == (1.5, 1.5, 8)


def test_npy_volumes(table, tmp_path):
    for name in NAMES:
        for key, array in (
            ("images", np.arange(60.0).reshape(5, 4, 3)),
            ("labels", np.arange(60).reshape(5, 4, 3) % 3),
        ):
            (tmp_path / "data" / key).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / f"data/{key}/{name}.npy", array)
    made = convert("folder", tmp_path / "data", tmp_path / "study", "--labels", table)
    image, label = (loaded(made, "validation", made.names("validation")[0], key)[0] for key in ("image", "label"))
    assert made.content["spatial_dims"] == 3 and np.array_equal(image, np.arange(60).reshape(5, 4, 3))
    assert np.array_equal(np.where(label == UNLABELED, 2, label), np.arange(60).reshape(5, 4, 3) % 3)


def test_bands_and_nodata(source, table, tmp_path):
    """A raster of four bands stays what it is; where all bands are nodata, there is nothing to learn."""
    bands = np.arange(192).reshape(4, 6, 8).astype(np.int16)
    bands[:, 0], bands[1, 1] = -1, -1
    for name in NAMES:
        (source / f"images/{name}.png").unlink()
        raster(source / f"images/{name}.tif", bands, nodata=-1)
    made = convert("folder", source, tmp_path / "study", "--labels", table)
    name = made.names("training")[0]
    assert made.content["in_channels"] == 4 and made.content["void_values"] == [VOID]
    copied = made.folder / made["training"][name]["image"]
    assert copied.read_bytes() == (source / f"images/{name}.tif").read_bytes()
    assert made["training"][name]["label"].endswith(".tif")  # in the place of the image
    label = made.pixels("training", name, "label")
    assert (label[0] == VOID).all() and np.array_equal(label[1:], CLASSES[1:])


@pytest.mark.parametrize("kind", ["turned", "printed", "one pixel"])
def test_odd_pictures(source, table, tmp_path, kind):
    picture = Image.open(source / "images/a1.png")
    path = source / "images/a1.jpg"
    if kind == "turned":  # stored lying, displayed upright: the mask is as displayed
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    elif kind == "printed":
        picture.convert("CMYK").save(path)
    else:
        picture.crop((0, 0, 1, 1)).save(path)
        save(source / "labels/a1.png", [[1]])
    (source / "images/a1.png").unlink()
    made = convert("folder", source, tmp_path / "study", "--labels", table)
    section = "training" if "a1" in made["training"] else "validation"
    image, label = (loaded(made, section, "a1", key) for key in ("image", "label"))
    assert len(image) == 3 and image.shape[1:] == label.shape[1:] == ((1, 1) if kind == "one pixel" else (8, 6))
    if kind == "turned":
        assert abs(image - np.asarray(picture).transpose(2, 1, 0)).mean() < 20  # turned wrongly: about 80


def deep_colour(path):
    """16 bits a colour, of which Pillow reads and writes only 8: a PNG by hand."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + bytes(8 * 6) for _ in range(6))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def cut(path):
    save(path, np.random.default_rng(0).integers(0, 256, (6, 8, 3)))
    path.write_bytes(path.read_bytes()[:100])


def write_table(path, content):
    path.write_text(json.dumps(content))


BAD_FILES = {
    "no folder": (lambda d: shutil.rmtree(d / "images"), "expected a folder, got none at"),
    "other tools' files": (
        lambda d: [p.rename(p.with_suffix(".json")) for p in (d / "labels").iterdir()],
        "but 5 .json: convert them to pictures or volumes of labels first",
    ),
    "a pattern that leaves all out": (
        lambda d: [p.rename(d / f"labels/.{p.name}") for p in (d / "labels").iterdir()],
        "which holds no files",
    ),
    "a folder named like a file": (
        lambda d: [(d / "labels/a1.png").unlink(), (d / "labels/a1.png").mkdir()],
        "expected a mask or strokes for",
    ),
    "two of one name": (lambda d: photograph(d / "images/a1.jpg"), "expected one file of a name"),
    "label without image": (lambda d: save(d / "labels/z.png", MASK), "expected an image for"),
    "image without label": (lambda d: (d / "labels/a1.png").unlink(), "expected a mask or strokes for"),
    "another size": (
        lambda d: save(d / "labels/a1.png", MASK[:5]),
        "expected the shape (8, 6) of the image, got (8, 5)",
    ),
    "wrong axis order": (lambda d: save(d / "labels/a1.png", MASK.T), "axes in another order"),
    "undeclared value": (lambda d: save(d / "labels/a1.png", MASK + 5), "got 5 (16 voxels)"),
    "empty mask": (lambda d: save(d / "labels/a1.png", np.full((6, 8), 2)), "without any"),
    "colours for values": (lambda d: save(d / "labels/a1.png", PAINTED), "labels/a1.png"),
    "alpha": (lambda d: save(d / "images/a1.png", np.zeros((6, 8, 4))), "alpha"),
    "alpha in a mask": (lambda d: save(d / "labels/a1.png", np.zeros((6, 8, 4))), "alpha"),
    "16 bits a colour": (lambda d: deep_colour(d / "images/a1.png"), "16 bits"),
    "grey among colours": (lambda d: save(d / "images/c1.png", MASK), "expected 3 channels and 2 axes, got shape (1,"),
    "cut short": (lambda d: cut(d / "images/a1.png"), "expected a readable image, got a damaged file"),
    "volume among pictures": (
        lambda d: [trees.save(d / "images/c1.nii.gz", np.ones((8, 6, 2))), (d / "images/c1.png").unlink()],
        "got shape (1, 8, 6, 2)",
    ),
    "link that leaves the folder": (
        lambda d: [shutil.move(d / "images/a1.png", d / "x.png"), (d / "images/a1.png").symlink_to(d / "x.png")],
        "in the folder of the source (or --allow-outside)",
    ),
    "labels that are no object": (
        lambda d: write_table(d.parent / "labels.json", [1]),
        "expected a table of labels, got a list",
    ),
    "one value twice": (lambda d: write_table(d.parent / "labels.json", {"labels": {"a": 0, "b": 0}}), "none twice"),
    "values and colours": (
        lambda d: write_table(d.parent / "labels.json", {"labels": {"a": 0, "b": [1, 2, 3]}}),
        "a value for each class, or a list of one length",
    ),
    "misspelt key": (
        lambda d: write_table(d.parent / "labels.json", {**TABLE, "ignore": 2}),
        "expected labels (name: value), ignore_values and void_values",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files(source, table, tmp_path, capsys, kind):
    damage, reason = BAD_FILES[kind]
    damage(source)
    assert reason in refusal(capsys, "folder", source, tmp_path / "study", "--labels", table)


def test_undeclared_colour(source, tmp_path, capsys):
    (tmp_path / "colors.json").write_text(json.dumps(COLORS))
    for name in NAMES:
        save(source / f"labels/{name}.png", np.where(np.arange(6)[:, None, None] == 2, 9, PAINTED))
    message = refusal(capsys, "folder", source, tmp_path / "study", "--labels", tmp_path / "colors.json")
    assert "got 9 9 9 (8 voxels)" in message


def test_patient_pattern_without_match(source, table, tmp_path, capsys):
    options = ("--labels", table, "--patient-pattern", r"[ab]\d")
    assert "got none in c1" in refusal(capsys, "folder", source, tmp_path / "study", *options)


def test_pattern_that_is_none(source, table, tmp_path, capsys):
    with pytest.raises(SystemExit):
        trees.run("folder", source, tmp_path / "study", "--labels", table, "--image-pattern", "(.+")
    assert "expected a regular expression, got (.+" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["series", "label series", "transposed", "elsewhere"])
def test_bad_volumes(table, tmp_path, capsys, kind):
    mask = (np.arange(60).reshape(5, 4, 3) % 3).astype(np.uint8)
    for name in NAMES:
        series = np.stack([mask, 2 - mask], -1)
        trees.save(tmp_path / f"data/images/{name}.nii.gz", series if kind == "series" else mask)
        label = series if kind == "label series" else mask
        label = mask.transpose(1, 0, 2) if kind == "transposed" else label
        affine = trees.AFFINE + (9 * np.eye(4, k=3) if kind == "elsewhere" else 0)
        trees.save(tmp_path / f"data/labels/{name}.nii.gz", label, affine)
    message = refusal(capsys, "folder", tmp_path / "data", tmp_path / "study", "--labels", table)
    reasons = {
        "series": "volume",
        "label series": "expected one channel of labels, got 2",
        "transposed": "axes in another order",
        "elsewhere": "affine",
    }
    assert reasons[kind] in message


def test_an_umlaut_is_one_name_however_it_is_written(source, table, tmp_path):
    """macOS writes it as a letter and two dots."""
    (source / "images/a1.png").rename(source / f"images/{unicodedata.normalize('NFC', 'bäume')}.png")
    (source / "labels/a1.png").rename(source / f"labels/{unicodedata.normalize('NFD', 'bäume')}.png")
    assert "bäume" in all_items(convert("folder", source, tmp_path / "study", "--labels", table))


def test_pictures_that_are_turned_are_told_of(source, table, tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(source / "images/a1.png").save(source / "images/a1.jpg", exif=exif)
    (source / "images/a1.png").unlink()
    convert("folder", source, tmp_path / "study", "--labels", table)
    assert re.search(r"note: 1 pictures .*EXIF.*images/a1.jpg", capsys.readouterr().out)


def test_another_table_makes_another_study(source, table, tmp_path, capsys):
    convert("folder", source, tmp_path / "study", "--labels", table)
    table.write_text(json.dumps({**TABLE, "labels": {"other": 1, "road": 0}}))
    assert trees.run("folder", source, tmp_path / "study", "--labels", table) == 1
    assert "in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "labels", "ignored", "bands"),
    [("dubai", 5, [255], 3), ("roads", 2, [], 3), ("water12", 2, [], 12), ("enmap_potsdam", 6, [255], 224)],
)
def test_real_rasters(shared_data, tmp_path, name, labels, ignored, bands):
    """A few pairs of each set; their masks are in our values already."""
    real = shared_data / "remote_sensing" / name
    if bands > 3:
        pytest.importorskip("rasterio")
    images = sorted((real / "images").iterdir(), key=lambda path: path.stat().st_size)[:2]
    for path in images:
        for folder in ("images", "labels"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(next((real / folder).glob(f"{path.stem}.*")), tmp_path / "data" / folder)
    table = {"labels": {f"class {k}": k for k in range(labels)}, "ignore_values": ignored}
    (tmp_path / "labels.json").write_text(json.dumps(table))
    made = convert("folder", tmp_path / "data", tmp_path / "study", "--labels", tmp_path / "labels.json")
    assert made.content["in_channels"] == bands and len(all_items(made)) == 2
    stem = made.names("training")[0]
    expected = pixels(next((real / "labels").glob(f"{stem}.*")))
    label = made.pixels("training", stem, "label")
    assert np.array_equal(label[label != VOID], expected[label != VOID]) and (label != VOID).mean() > 0.9
