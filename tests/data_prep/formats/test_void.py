# SPDX-License-Identifier: Apache-2.0
"""However a file says that there is nothing: conversion and check take it for the same, and nothing else for it."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.engine.summary import training_command
from medwsss.keys import VOID
from tests.data_prep.pictures import convert, save
from tests.data_prep.trees import run

rasterio = pytest.importorskip("rasterio")

NAMES = ("a", "b", "c")
MASK = (np.arange(80).reshape(8, 10) // 4 % 2).astype(np.uint8)
GONE = np.zeros((8, 10), bool)
GONE[:3, :4] = True
TABLE = {"labels": {"other": 0, "road": 1}}
BANDS = np.random.default_rng(0).integers(1, 250, (3, 8, 10))
BANDS[:, 7, 9] = 100


def raster(path, bands, nodata=None, mask=None, internal=True, scale=1.0, dtype="float32", **options):
    """Bands first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = np.where(bands == 100, ord(path.stem[0]), bands) * scale  # no image is another one
    size = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": dtype, "nodata": nodata}
    place = rasterio.transform.from_origin(5e5, 5e6, 30, 30)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        with rasterio.open(path, "w", driver="GTiff", transform=place, crs="EPSG:32633", **size, **options) as file:
            file.write(bands.astype(dtype))
            if mask is not None:
                file.write_mask(mask)


def by_value(value, declared=True):
    return lambda path: raster(path, np.where(GONE, value, BANDS), value if declared else None)


def some_bands(path):
    """The first band misses more than the others."""
    bands = np.where(GONE, -1.0, BANDS)
    bands[0, 5] = -1
    raster(path, bands, -1)


def alpha(path):
    bands = np.concatenate([BANDS, np.where(GONE, 0, 255)[None]])
    raster(path, bands, dtype="uint8", photometric="RGB", ALPHA="YES")


IMAGES = {
    "-9999": by_value(-9999.0),
    "-9999.9": by_value(-9999.9),
    "1e20": by_value(1e20),
    "0.1": by_value(0.1),
    "NaN": by_value(np.nan),
    "some bands": some_bands,
    "alpha": alpha,
    "mask": lambda path: raster(path, BANDS, mask=~GONE),
    "mask beside": lambda path: raster(path, BANDS, mask=~GONE, internal=False),
    "whole": lambda path: raster(path, BANDS),
}
REFUSED = {
    "undeclared NaN": (by_value(np.nan, declared=False), "36 NaN or infinite voxels"),
    "undeclared infinity": (by_value(np.inf, declared=False), "36 NaN or infinite voxels"),
    "infinity beside nodata": (
        lambda path: raster(path, np.where(GONE, np.inf, BANDS), nodata=-1.0),
        "36 NaN or infinite voxels",
    ),
    "nothing but nodata": (lambda path: raster(path, 0 * BANDS, nodata=0.0), "nothing but void (nodata 0)"),
}


def source(folder, write, label=None):
    for name in NAMES:
        write(folder / f"images/{name}.tif")
        (label or (lambda path: save(path.with_suffix(".png"), MASK)))(folder / f"labels/{name}.tif")
    (folder.parent / "labels.json").write_text(json.dumps(TABLE))
    return folder


def check(datalist, *options):
    return main(["check", str(datalist), "--dense", *map(str, options)])


def all_items(made):
    return made["training"] | made["validation"]


def label_of(made):
    with rasterio.open(made.folder / made["training"][made.names("training")[0]]["label"]) as file:
        return file.read(1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", IMAGES)
def test_void_of_an_image(kind, tmp_path, capsys):
    data = source(tmp_path / "data", IMAGES[kind])
    made = convert("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json", "--workers", 1)
    expected = MASK if kind == "whole" else np.where(GONE, VOID, MASK)
    assert np.array_equal(label_of(made), expected) and made.content["void_values"] == [VOID]
    report = tmp_path / "report.json"
    assert check(made.folder / "dataset.json", "--json", report) == 0
    found = json.loads(report.read_text())["sections"]["training"]
    assert found["channels"] == 3 and found["voxels"]["void"] == 2 * (12 if kind != "whole" else 0)
    exists = np.ones_like(GONE) if kind == "whole" else ~GONE
    low, high = ([float(f(band[exists])) for band in BANDS] for f in (np.min, np.max))
    if kind != "some bands":
        assert found["intensity"] == [low, high]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_conversion_refuses_check_refuses_too(kind, tmp_path, capsys):
    write, told = REFUSED[kind]
    data = source(tmp_path / "data", write)
    assert run("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json", "--workers", 1) == 1
    message = capsys.readouterr().err
    assert told in message and "images/a.tif" in message
    items = [{"image": f"images/{name}.tif", "label": f"labels/{name}.png"} for name in NAMES]
    content = {"num_classes": 2, "training": items[:2], "validation": items[2:]}
    (data / "dataset.json").write_text(json.dumps(content))
    assert check(data / "dataset.json") == 1
    assert told in capsys.readouterr().out


def test_a_volume_cannot_declare_nan(tmp_path, capsys):
    def volume(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)

    for name in NAMES:
        volume(tmp_path / f"data/images/{name}.nii.gz", np.where(GONE, np.nan, BANDS).astype(np.float32))
        volume(tmp_path / f"data/labels/{name}.nii.gz", np.stack([MASK] * 3))
    (tmp_path / "labels.json").write_text(json.dumps(TABLE))
    assert run("folder", tmp_path / "data", tmp_path / "study", "--labels", tmp_path / "labels.json") == 1
    assert "36 NaN or infinite voxels in" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("image", ["whole", "-9999"])
def test_a_labels_own_nodata(image, tmp_path, capsys):
    """Its own value, whatever that of the image, is void; in a converted study and in a list by hand."""
    own = MASK.astype(np.int16)
    own[7] = -32768
    data = source(tmp_path / "data", IMAGES[image], lambda path: raster(path, own[None], nodata=-32768, dtype="int16"))
    made = convert("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json", "--workers", 1)
    expected = np.where(GONE & (image != "whole"), VOID, MASK)
    expected[7] = VOID
    assert np.array_equal(label_of(made), expected)
    items = [{"image": f"images/{name}.tif", "label": f"labels/{name}.tif"} for name in NAMES]
    (data / "dataset.json").write_text(json.dumps({"num_classes": 2, "training": items[:2], "validation": items[2:]}))
    assert check(data / "dataset.json") == check(made.folder / "dataset.json") == 0


@pytest.mark.filterwarnings("ignore")
def test_what_lies_beside_a_tiff_comes_along(tmp_path):
    """A mask and a place in files of their own, in the converted study and in the one that strokes are drawn into."""
    data = source(tmp_path / "data", IMAGES["mask beside"])
    assert (data / "images/a.tif.msk").exists()
    made = convert("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json", "--workers", 1)
    words = ["--datalist", str(made.folder / "dataset.json"), "--output", str(tmp_path / "drawn"), "--workers", "1"]
    assert main(["scribbles", *words]) == 0
    for folder in (made.folder, tmp_path / "drawn"):
        assert (folder / "images/a.tif.msk").read_bytes() == (data / "images/a.tif.msk").read_bytes()
        with rasterio.open(folder / "images/a.tif") as file:
            assert np.array_equal(file.dataset_mask() == 0, GONE)
    (data / "images/a.tif.msk").unlink()  # another study
    assert run("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json") == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("scale", "dtype", "override"),
    [(1, "uint8", None), (1, "float32", None), (40, "uint16", [0, 10000]), (1 / 250, "float32", [0.0, 1.0])],
)
def test_the_command_says_the_range(scale, dtype, override, tmp_path, capsys):
    """By all images, and the same whether conversion was interrupted or not."""
    data = source(tmp_path / "data", lambda path: raster(path, BANDS, scale=scale, dtype=dtype))
    made = convert("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json", "--workers", 1)
    command = training_command(made.folder / "dataset.json")
    assert "scribble_2d" in command and command in capsys.readouterr().out
    if override is None:
        assert "intensity_range" not in command and "intensity" not in made.content["training"][0]
        return
    low, high = json.loads(command.split("--intensity_range '")[1].split("'")[0])
    values = np.percentile((np.where(BANDS == 100, ord("a"), BANDS) * scale).astype(dtype), [0.5, 99.5])
    assert low <= values[0] and high >= values[1] and high - low <= 1.1 * (override[1] - override[0])
    assert all_items(made)["a"]["intensity"] == pytest.approx(values.tolist(), rel=1e-6)

    lines = [{"fingerprint": made.content["fingerprint"]}, {"name": "a", "item": all_items(made)["a"]}]
    (made.folder / ".conversion.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (made.folder / "dataset.json").unlink()
    resumed = convert("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json", "--workers", 1)
    assert resumed.content == made.content


def test_a_transparent_picture(tmp_path, capsys):
    rgba = np.concatenate([BANDS.transpose(1, 2, 0), np.where(GONE, 0, 255)[..., None]], -1).astype(np.uint8)
    data = source(tmp_path / "data", lambda path: None)
    for name in NAMES:
        rgba[7, 9, 0] = ord(name)
        save(data / f"images/{name}.png", rgba)
    made = convert("folder", data, tmp_path / "study", "--labels", tmp_path / "labels.json", "--workers", 1)
    name = made.names("training")[0]
    assert np.array_equal(np.asarray(Image.open(made.folder / f"labels/{name}.png")), np.where(GONE, VOID, MASK))
    assert check(made.folder / "dataset.json") == 0
