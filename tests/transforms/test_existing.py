# SPDX-License-Identifier: Apache-2.0
"""What exists of an image is preprocessed as if there were nothing else: void costs nothing and invents nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose, ScaleIntensityRangePercentilesd

from medwsss.experiments.runs import parsed
from medwsss.keys import UNLABELED, VOID
from medwsss.terms import GridNeighborhood
from medwsss.terms.simplex import void_mask
from medwsss.transforms import FillVoidd, ScaleExistingd, VoidLabelsd
from tests.bundles.bundle import REPOSITORY

NAN = torch.nan
DECLARED = {"void": "nodata -9999", "nodata_value": -9999.0, "filename_or_obj": "t0.tif"}
RANGE = {"lower": 0.5, "upper": 99.5, "b_min": 0.0, "b_max": 1.0, "clip": True}
LINE = [[NAN, 5.0, NAN, NAN, 7.0]]


def image(values, **meta):
    return MetaTensor(torch.as_tensor(values, dtype=torch.float32), meta={**DECLARED, **meta})


def scale(x, **changes):
    return ScaleExistingd("image", **{**RANGE, **changes})({"image": x})["image"]


def fill(x):
    return FillVoidd("image")({"image": x})["image"]


@pytest.mark.parametrize("axes", [(1000,), (30, 20), (12, 11, 10), (1001, 1003)])  # from a million on, NumPy's
def test_without_void_the_numbers_are_monais(axes):
    x = MetaTensor(1000 * torch.randn(3 if len(axes) > 1 else 1, *axes))
    expected = ScaleIntensityRangePercentilesd("image", channel_wise=True, **RANGE)({"image": x})["image"]
    assert torch.equal(scale(x), expected) and torch.equal(fill(scale(x)), expected)


def test_void_changes_no_number_and_no_pair_weight():
    """Each channel of the border misses something else; valid pixels and the pairs between them are those of no border.

    Bandwidth by the image's own contrasts, and smoothing, would notice a single invented value.
    """
    whole = torch.randn(2, 9, 8) * torch.tensor([1.0, 300.0])[:, None, None]
    bordered = torch.full((2, 14, 12), NAN)
    bordered[:, 3:12, 2:10] = whole
    inside = (slice(None), slice(None), slice(3, 12), slice(2, 10))
    plain, void = (fill(scale(image(x))).as_tensor()[None] for x in (whole, bordered))
    assert torch.equal(void[inside], plain) and void.isfinite().all()

    labels = {"image": image(bordered), "scribble": torch.full((1, 14, 12), UNLABELED, dtype=torch.uint8)}
    scribble = VoidLabelsd("scribble")(labels)["scribble"]
    assert int((scribble == VOID).sum()) == 14 * 12 - 9 * 8
    for settings in ({"bandwidth": 0.1}, {"bandwidth": "auto"}, {"bandwidth": "auto", "smoothing": 0.7}):
        neighborhood = GridNeighborhood(connectivity=2, **settings)
        expected = neighborhood.weights(plain)
        found = neighborhood.weights(void, ~void_mask(scribble[None]))
        for w, v in zip(expected, found):
            torch.testing.assert_close(v[v > 0].sort().values, w[w > 0].sort().values, rtol=1e-5, atol=1e-7)
            assert int((v > 0).sum()) == w.numel()  # no pair with void has a weight


def test_filled_from_the_nearest_by_brute_force():
    x = torch.randn(3, 7, 6)
    missing = torch.rand(3, 7, 6) < 0.6
    missing[1], missing[2, 0, 0] = missing[0], False
    filled = fill(image(x.masked_fill(missing, NAN))).as_tensor()
    assert torch.equal(filled[~missing], x[~missing])
    for c, i, j in missing.nonzero().tolist():
        known = (~missing[c]).nonzero()
        far = (known - torch.tensor([i, j])).square().sum(1)
        assert filled[c, i, j] in x[c][tuple(known[far == far.min()].T)]


def test_a_channel_of_nothing_and_an_image_of_nothing():
    """Void is where no channel has anything; what some channels lack is filled, what none of an image has becomes 0."""
    x = image([[1.0, NAN, NAN], [NAN, NAN, 4.0], [NAN, NAN, NAN]])
    assert VoidLabelsd("label")({"image": x, "label": torch.tensor([[1, 1, 1]])})["label"].tolist() == [[1, VOID, 1]]
    assert fill(scale(x)).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert fill(x).tolist() == [[1, 1, 1], [4, 4, 4], [0, 0, 0]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[3.0] * 5], [[0.0] * 5]),  # of one value
        ([[0.0] * 999 + [700.0]], [[0.0] * 999 + [1.0]]),  # both percentiles are 0: a few bright voxels
        ([[-1024.0] * 3 + [NAN] + [3071.0]], [[0.0] * 3 + [NAN] + [1.0]]),
        ([[9.0] * 4, [1.0, 2.0, 3.0, 5.0]], [[0.0] * 4, [0.0, 0.25, 0.5, 1.0]]),  # one channel of one value
    ],
)
def test_percentiles_that_are_one_number(values, expected):
    torch.testing.assert_close(
        scale(image(values), lower=0.5 * (len(values[0]) > 9), upper=100 - 0.5 * (len(values[0]) > 9)).as_tensor(),
        torch.tensor(expected),
        equal_nan=True,
    )


@pytest.mark.parametrize("transform", [ScaleExistingd("image", **RANGE), FillVoidd("image"), VoidLabelsd("label")])
@pytest.mark.parametrize(
    ("values", "meta", "told"),
    [
        (LINE, {"void": None}, "3 NaN or infinite voxels in t0.tif: declare NaN as nodata"),
        ([[1.0, torch.inf, NAN]], {}, "1 NaN or infinite voxels in t0.tif"),  # declared is NaN alone
        ([[1.0, NAN]], {"void": None, "filename_or_obj": "a.nii.gz"}, "1 NaN or infinite voxels in a.nii.gz: replace"),
    ],
)
def test_what_nobody_declared_is_refused(transform, values, meta, told):
    with pytest.raises(ValueError, match=told):
        transform({"image": image(values, **meta), "label": torch.zeros(1, len(values[0]))})


def test_batches_of_both_kinds():
    items = [{"image": fill(image(LINE))}, {"image": fill(MetaTensor(torch.ones(1, 5)))}]
    assert items[0]["image"].meta.keys() & {"void", "nodata_value"} == set()
    assert list_data_collate(items)["image"].tolist() == [[[5, 5, 5, 7, 7]], [[1] * 5]]


def test_void_in_what_was_predicted():
    """At inference the image as it was read travels under a key of its own."""
    data = {"read": image(LINE), "pred": MetaTensor(torch.ones(1, 5))}
    assert VoidLabelsd("pred", image_key="read")(data)["pred"].tolist() == [[VOID, 1, VOID, VOID, 1]]


def write_case(folder, bands, exists, gone):
    rasterio = pytest.importorskip("rasterio")
    folder.mkdir()
    count, height, width = bands.shape
    place = rasterio.transform.from_origin(5e5, 5e6, 10, 10)
    for name, values in (
        ("image", np.where(exists, bands, gone)),
        ("scribble", np.full((1, height, width), UNLABELED)),
    ):
        kind = "float32" if name == "image" else "uint8"
        size = {"count": len(values), "height": height, "width": width, "dtype": kind}
        nodata = gone if name == "image" else None
        with rasterio.open(folder / f"{name}.tif", "w", "GTiff", nodata=nodata, transform=place, **size) as raster:
            raster.write(values.astype(kind))
    items = [{"image": "image.tif", "scribble": "scribble.tif"}]
    (folder / "dataset.json").write_text(json.dumps({"training": items, "num_classes": 2}))
    return {"image": str(folder / "image.tif"), "scribble": str(folder / "scribble.tif")}


@pytest.mark.parametrize("gone", [-9999.0, -9999.9, 1e20, 0.1, float("nan")])
@pytest.mark.parametrize(
    ("bundle", "options"),
    [
        ("scribble", {"spatial_dims": 2, "in_channels": 3, "patch_size": [8, 8]}),
        ("scribble_2d", {"intensity_range": [0.0, 1.0]}),
    ],
)
def test_bundles_prepare_what_exists_alone(bundle, options, gone, tmp_path, monkeypatch):
    """Through the reader: in float32 a declared -9999.9 is another number than in the header."""
    monkeypatch.chdir(REPOSITORY)
    rng = np.random.default_rng(0)
    whole, y = rng.random((3, 12, 10)), np.s_[:, 4:, 3:]
    bordered = np.zeros((3, 16, 13))
    bordered[y] = whole
    exists = np.zeros((1, 16, 13), bool)
    exists[y] = True
    prepared = []
    for name, bands, there in (("whole", whole, np.ones((1, 12, 10), bool)), ("bordered", bordered, exists)):
        case = write_case(tmp_path / name, bands, there, gone)
        settings = {"num_classes": 2, "dataset_dir": str(tmp_path / name), **options}
        get = parsed([f"bundles/{bundle}/train.json"], settings).get_parsed_content
        prepared.append(Compose(get("train#deterministic_transforms"))(case))
    plain, void = ({key: x.as_tensor().reshape(len(x), *x.shape[1:3]) for key, x in case.items()} for case in prepared)
    assert torch.equal(void["image"][:, 3:, 4:], plain["image"]) and void["image"].isfinite().all()
    assert (void["scribble"] == VOID).sum() == 16 * 13 - 12 * 10 and not (plain["scribble"] == VOID).any()
    if bundle == "scribble_2d":  # reflectances as grey levels, less the mean of ImageNet
        mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
        expected = 255 * torch.from_numpy(whole).transpose(1, 2) - mean
        torch.testing.assert_close(plain["image"], expected.float(), atol=1e-3, rtol=0)
