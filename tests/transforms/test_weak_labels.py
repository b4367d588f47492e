# SPDX-License-Identifier: Apache-2.0
"""MapWeakLabels: every label convention of the field, worked by hand, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from medwsss.keys import UNLABELED, VOID
from medwsss.transforms import SCHEMAS, LabelSchema, MapWeakLabels, MapWeakLabelsd

U, V = UNLABELED, VOID

# (source, declaration, values in the file, what they mean)
CONVENTIONS = [
    ("ACDC scribbles", {"num_classes": 4, "ignore_values": 4}, [0, 1, 2, 3, 4], [0, 1, 2, 3, U]),
    ("WSL4MIS h5", {"num_classes": 4, "ignore_values": 4}, [4, 0, 3], [U, 0, 3]),
    ("WSL4MIS generator", {"num_classes": 3, "ignore_values": 255}, [0, 1, 2, 255], [0, 1, 2, U]),
    ("MSCMR", {"num_classes": 4, "ignore_values": 4}, [3, 4], [3, U]),
    ("PyMIC and DMSPS", {"num_classes": 2, "ignore_values": 2}, [0, 1, 2], [0, 1, U]),
    ("nnU-Net", {"num_classes": 3, "ignore_values": 3, "void_values": -1}, [0, 1, 2, 3, -1], [0, 1, 2, U, V]),
    ("ScribbleBench", {"num_classes": 3, "ignore_values": 3}, [0, 1, 2, 3], [0, 1, 2, U]),
    (
        "ScribbleBench inverted",
        {"num_classes": 3, "mapping": {1: 1, 2: 2, 3: 0}, "ignore_values": 0},
        [0, 1, 2, 3],
        [U, 1, 2, 0],
    ),
    (
        "ScribbleSup PNG and RTR",
        {"num_classes": 21, "ignore_values": 255, "void_values": 254},
        [0, 20, 255, 254],
        [0, 20, U, V],
    ),
    ("VOC dense", {"num_classes": 21, "void_values": 255}, [0, 20, 255], [0, 20, V]),
    ("Cityscapes", {"num_classes": 19, "void_values": 255}, [18, 255], [18, V]),
    ("TEL blocks", {"num_classes": 21, "ignore_values": [255, -1], "void_values": -2}, [7, 255, -1, -2], [7, U, U, V]),
    ("AGMM", {"num_classes": 21, "ignore_values": 21, "void_values": 255}, [20, 21, 255], [20, U, V]),
    (
        "ScRoadExtractor",
        {"num_classes": 2, "mapping": {0: 0, 255: 1}, "ignore_values": 128},
        [0, 128, 255],
        [0, U, 1],
    ),
    (
        "MONAI Label",
        {"num_classes": 2, "mapping": {"2": 0, "3": 1}, "ignore_values": 0},
        [0, 2, 3],
        [U, 0, 1],
    ),
    ("camouflaged objects", {"num_classes": 2, "mapping": {1: 1, 2: 0}, "ignore_values": 0}, [0, 1, 2], [U, 1, 0]),
    ("UniMatch", {"num_classes": 21, "ignore_values": 255, "void_values": 254}, [254, 255, 1], [V, U, 1]),
    ("torch default", {"num_classes": 2, "ignore_values": -100}, [-100, 0, 1], [U, 0, 1]),
    ("PA-Seg points", {"num_classes": 2, "mapping": {1: 0, 2: 1}, "ignore_values": 0}, [0, 1, 2], [U, 0, 1]),
    ("PA-Seg geodesic", {"num_classes": 2, "ignore_values": 2}, [0, 1, 2], [0, 1, U]),
    ("dense mask", {"num_classes": 4}, [0, 1, 2, 3], [0, 1, 2, 3]),
]


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.float32, np.float64, torch.int32, torch.float64])
@pytest.mark.parametrize("declared, values, meaning", [c[1:] for c in CONVENTIONS], ids=[c[0] for c in CONVENTIONS])
def test_conventions(declared, values, meaning, kind):
    source = torch.tensor(values, dtype=kind) if isinstance(kind, torch.dtype) else np.array(values, dtype=kind)
    out = MapWeakLabels(**declared)(source[None, None])
    assert out.dtype == torch.uint8 and out.shape == (1, 1, len(values))
    assert out.flatten().tolist() == meaning


# (name, what it is told, values in the file, what they mean): every row of the field's table of conventions
NAMED = [
    ("acdc", {}, [0, 1, 2, 3, 4], [0, 1, 2, 3, U]),
    ("mscmr", {}, [0, 3, 4], [0, 3, U]),
    ("wsl4mis_generator", {}, [0, 1, 2, 255], [0, 1, 2, U]),
    ("pymic", {"num_classes": 2}, [0, 1, 2], [0, 1, U]),
    ("nnunet", {"num_classes": 3}, [0, 2, 3, -1], [0, 2, U, V]),
    ("scribblebench", {"num_classes": 3}, [0, 1, 2, 3], [0, 1, 2, U]),
    ("scribblebench_inverted", {"num_classes": 3}, [0, 1, 2, 3], [U, 1, 2, 0]),
    ("scribblesup", {}, [0, 20, 255, 254], [0, 20, U, V]),
    ("voc", {}, [0, 20, 255], [0, 20, V]),
    ("cityscapes", {}, [0, 18, 255], [0, 18, V]),
    ("tel_blocks", {"num_classes": 19}, [0, 18, 255, -1, -2], [0, 18, U, U, V]),
    ("agmm", {}, [20, 21, 255], [20, U, V]),
    ("agmm", {"num_classes": 19}, [18, 19, 255], [18, U, V]),
    ("rtr", {}, [20, 255, 254], [20, U, V]),
    ("scroadextractor", {}, [0, 128, 255], [0, U, 1]),
    ("monai_label", {}, [0, 2, 3], [U, 0, 1]),
    ("camouflaged_objects", {}, [0, 1, 2], [U, 1, 0]),
    ("unimatch", {}, [1, 254, 255], [1, V, U]),
    ("torch", {"num_classes": 2}, [-100, 0, 1], [U, 0, 1]),
    ("pa_seg_points", {}, [0, 1, 2], [U, 0, 1]),
    ("pa_seg_geodesic", {}, [0, 1, 2], [0, 1, U]),
    ("zero_is_unlabeled", {"num_classes": 5}, [0, 1, 5], [U, 0, 4]),
    ("dense", {"num_classes": 4}, [0, 3], [0, 3]),
    ("festa", {"colors": [[255, 0, 0], [0, 0, 255]]}, [[0, 0, 255], [0, 0, 0], [255, 0, 0]], [1, U, 0]),
    ("s4all", {"colors": [[1, 2, 3], [3, 2, 1]], "ignore": [9, 9, 9]}, [[3, 2, 1], [9, 9, 9]], [1, U]),
    ("medscribble", {}, [[1, 0], [0, 1], [0, 0]], [1, 0, U]),  # positive and negative map
]


@pytest.mark.parametrize("name, told, values, meaning", NAMED, ids=[row[0] for row in NAMED])
def test_conventions_by_name(name, told, values, meaning):
    source = np.array(values).reshape(len(values), -1).T[:, None]  # channels first, 1 x n pixels
    mapper = MapWeakLabels.of(SCHEMAS[name](**told))
    assert mapper(source).flatten().tolist() == meaning
    with pytest.raises(ValueError, match="got 77"):
        mapper(np.full_like(source, 77))


def test_every_named_convention_is_tested():
    assert {row[0] for row in NAMED} == set(SCHEMAS)


@pytest.mark.parametrize(
    "nodata, declared, meaning",
    [
        (0, {"num_classes": 2, "mapping": {1: 0, 2: 1}}, [V, 0, 1]),  # the raster says that there is no image
        (0, {"num_classes": 2, "mapping": {1: 0, 2: 1}, "ignore_values": 0}, [U, 0, 1]),  # a declaration wins
        (0.0, {"num_classes": 3}, [0, 1, 2]),
        (2.0, {"num_classes": 2}, [0, 1, V]),
    ],
)
def test_nodata_is_void_unless_declared(nodata, declared, meaning):
    label = torch.tensor([[0.0, 1.0, 2.0]])
    label[label == nodata] = torch.nan
    label = MetaTensor(label, meta={"void": f"nodata {nodata}", "nodata_value": nodata})
    assert MapWeakLabels(**declared)(label).flatten().tolist() == meaning


def test_nodata_may_be_nan():
    label = MetaTensor(torch.tensor([[0, 1, float("nan")]]), meta={"void": "nodata nan", "nodata_value": float("nan")})
    assert MapWeakLabels(2)(label).flatten().tolist() == [0, 1, V]


COLOURS = [
    # FESTA: a palette; the colours of unlabelled pixels have to be declared like any other
    ([[255, 0, 0], [0, 255, 0]], [[0, 0, 0]], [[0, 255, 0], [0, 0, 0], [255, 0, 0]], [1, U, 0]),
    # S4All's shipped configurations: (0, 0, 0) is configured as the unlabelled colour
    ([[10, 20, 30], [30, 20, 10]], [[0, 0, 0]], [[30, 20, 10], [10, 20, 30], [0, 0, 0]], [1, 0, U]),
    # MedScribble: one map for positive and one for negative scribbles, zero where there is none
    ([[0, 1], [1, 0]], [[0, 0]], [[1, 0], [0, 1], [0, 0]], [1, 0, U]),
]


@pytest.mark.parametrize("colors, ignored, pixels, meaning", COLOURS, ids=["FESTA", "S4All", "MedScribble"])
def test_colours(colors, ignored, pixels, meaning):
    source = np.array(pixels, dtype=np.uint8).T[:, None]  # channels first, 1 x 3 pixels
    mapper = MapWeakLabels(num_classes=2, colors=colors, ignore_values=ignored)
    out = mapper(source)
    assert out.shape == (1, 1, 3) and out.flatten().tolist() == meaning
    source[0, 0, 1] += 7
    with pytest.raises(ValueError, match=r"got 7 \d+( \d+)? \(1 voxels\)|got 17 20 30 \(1 voxels\)"):
        mapper(source)
    with pytest.raises(ValueError, match="channels"):
        mapper(source[:1])


@pytest.mark.parametrize(
    "declared, values, told",
    [
        ({"num_classes": 3, "ignore_values": 4}, [0, 3, 3, 4], "3 (2 voxels)"),  # num_classes too small
        ({"num_classes": 4}, [0, 4], "4 (1 voxels)"),
        ({"num_classes": 4, "ignore_values": 255}, [3, 4, 4, 255], "4 (2 voxels)"),  # WSL4MIS's 3 hard-coded classes
        ({"num_classes": 2, "ignore_values": -2}, [0, 254], "254 (1 voxels)"),  # equal to -2 in uint8
        ({"num_classes": 2, "ignore_values": 4}, [0, 260], "260 (1 voxels)"),  # equal to 4 in uint8
        ({"num_classes": 2}, [0, 0.5, 1], "0.5 (1 voxels)"),
        ({"num_classes": 2}, [0, float("nan"), float("nan")], "nan (2 voxels)"),
        ({"num_classes": 2}, [0, UNLABELED, VOID], "254 (1 voxels), 255 (1 voxels)"),  # ours are not implied
        ({"num_classes": 2, "mapping": {1: 0, 2: 1}}, [0, 1, 2], "0 (1 voxels)"),  # a mapping is complete
        (
            {"num_classes": 1},
            range(1, 9),
            "1 (1 voxels), 2 (1 voxels), 3 (1 voxels), 4 (1 voxels), 5 (1 voxels) and 3 more values",
        ),
    ],
)
def test_undeclared_values_are_refused_by_name(declared, values, told):
    label = MetaTensor(torch.tensor([list(values)]), meta={"filename_or_obj": "study/case_7.nii.gz"})
    with pytest.raises(ValueError, match="case_7.nii.gz") as error:
        MapWeakLabels(**declared)(label)
    assert f"got {told}" in str(error.value)
    with pytest.raises(ValueError, match="without a file name"):
        MapWeakLabels(**declared)(label.numpy())


@pytest.mark.parametrize(
    "declared",
    [
        {"num_classes": 0},
        {"num_classes": 255},  # class 254 would be VOID
        {"num_classes": 5, "ignore_values": 4},  # 4 is a class
        {"num_classes": 2, "ignore_values": 9, "void_values": [9]},
        {"num_classes": 2, "mapping": {1: 2}},
        {"num_classes": 2, "colors": [[0, 0, 0]]},
        {"num_classes": 1, "colors": [[0, 0, 0]], "mapping": {0: 0}},
    ],
)
def test_contradictions_are_refused(declared):
    with pytest.raises(ValueError, match="expected .* got"):
        MapWeakLabels(**declared)
    with pytest.raises(ValueError, match="expected .* got"):
        LabelSchema(**declared)


@pytest.mark.parametrize("spatial", [(5,), (4, 3), (2, 3, 4)])
def test_metadata_and_shape_are_kept(spatial):
    affine = torch.diag(torch.tensor([1.5, 1.5, 10.0, 1.0], dtype=torch.float64))
    label = MetaTensor(torch.full((1, *spatial), 4.0), affine=affine, meta={"filename_or_obj": "a.nii"})
    data = {"scribble": label, "image": "untouched"}
    out = MapWeakLabelsd("scribble", num_classes=4, ignore_values=4)(data)
    assert isinstance(out["scribble"], MetaTensor) and out["scribble"].shape == label.shape
    assert torch.equal(out["scribble"].affine, affine) and out["scribble"].meta["filename_or_obj"] == "a.nii"
    assert out["image"] == "untouched" and data["scribble"] is label and (label == 4).all()


def test_from_a_bundle_config():
    config = {
        "_target_": "medwsss.transforms.MapWeakLabelsd",
        "keys": "scribble",
        "num_classes": 2,
        "mapping": {"2": 0, "3": 1},
        "ignore_values": [0],
    }
    mapper = ConfigParser({"map": config}).get_parsed_content("map")
    assert mapper({"scribble": np.array([[0, 2, 3]])})["scribble"].tolist() == [[U, 0, 1]]
