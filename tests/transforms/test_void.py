# SPDX-License-Identifier: Apache-2.0
"""VoidFilld: a label map of ones comes out as ones and VOID, VOID exactly where an image of ones has no support."""

from __future__ import annotations

import pytest
import torch
from monai import transforms as mt
from monai.data import MetaTensor
from monai.data.utils import set_rnd

from medwsss.keys import UNLABELED, VOID
from medwsss.transforms import VoidFilld

KEYS = ["image", "scribble"]
NEAREST = {"keys": KEYS, "mode": "nearest", "padding_mode": "zeros"}
SHAPES = [(14, 12), (14, 12, 10)]


def grid_transforms(ndim):
    elastic, sigma = (
        (mt.Rand2DElasticd, {"spacing": (4, 4)}) if ndim == 2 else (mt.Rand3DElasticd, {"sigma_range": (1, 2)})
    )
    return {
        "RandAffined": mt.RandAffined(
            prob=1, rotate_range=[0.6] * (1 if ndim == 2 else 3), translate_range=[3] * ndim, scale_range=0.3, **NEAREST
        ),
        "RandRotated": mt.RandRotated(prob=1, range_x=(0.6, 0.9), **NEAREST),
        "Affined": mt.Affined(translate_params=[2.0] * ndim, **NEAREST),
        "elastic": elastic(prob=1, magnitude_range=(2, 4), translate_range=[3] * ndim, **sigma, **NEAREST),
        "RandZoomd": mt.RandZoomd(
            prob=1, min_zoom=0.6, max_zoom=0.7, keys=KEYS, mode="nearest", padding_mode="constant"
        ),
        "RandGridDistortiond": mt.RandGridDistortiond(prob=1, distort_limit=(0.3, 0.3), **NEAREST),
    }


def pad_transforms(ndim):
    return {
        "SpatialPadd": mt.SpatialPadd(KEYS, spatial_size=[18] * ndim),
        "BorderPadd": mt.BorderPadd(KEYS, spatial_border=2),
        "DivisiblePadd": mt.DivisiblePadd(KEYS, k=8),
        "ResizeWithPadOrCropd": mt.ResizeWithPadOrCropd(KEYS, spatial_size=[18, 8, 18][:ndim]),
        "RandCropd": mt.Compose(
            [mt.SpatialPadd(KEYS, [18] * ndim), mt.RandSpatialCropd(KEYS, [17] * ndim, random_size=False)]
        ),
        "OneOf": mt.OneOf([mt.SpatialPadd(KEYS, [18] * ndim), mt.BorderPadd(KEYS, 3)]),
    }


def crop_transforms(ndim):
    size = [6] * ndim
    return {
        "RandFlipd": mt.RandFlipd(KEYS, prob=1, spatial_axis=0),
        "RandRotate90d": mt.RandRotate90d(KEYS, prob=1),
        "RandSpatialCropSamplesd": mt.RandSpatialCropSamplesd(KEYS, size, num_samples=2, random_size=False),
        "RandCropByLabelClassesd": mt.RandCropByLabelClassesd(
            KEYS, "scribble", size, num_classes=2, num_samples=2, warn=False
        ),
        "RandCropByPosNegLabeld": mt.RandCropByPosNegLabeld(KEYS, "scribble", size, neg=0, num_samples=2),
    }


# where there is nothing to crop at, these refuse
IMPOSSIBLE = {("RandCropByLabelClassesd", UNLABELED), ("RandCropByPosNegLabeld", 0)}
CASES = [
    pytest.param(shape, family, name, label, id=f"{name}-{len(shape)}d-{label}")
    for shape in SHAPES
    for family in (grid_transforms, pad_transforms, crop_transforms)
    for name in family(len(shape))
    for label in (0, 1, UNLABELED)
    if (name, label) not in IMPOSSIBLE
]


def ones(shape, label=1):
    affine = torch.diag(torch.tensor([1.5, 1.5, 10.0, 1.0], dtype=torch.float64))
    return {
        "image": MetaTensor(torch.ones(1, *shape), affine=affine),
        "scribble": MetaTensor(torch.full((1, *shape), label, dtype=torch.uint8), affine=affine),
    }


def check(data, label=1):
    image, scribble = data["image"].as_tensor(), data["scribble"].as_tensor()
    assert scribble.dtype == torch.uint8 and image.shape == scribble.shape
    expected = torch.where(image == 0, VOID, label)
    assert torch.equal(scribble.long(), expected)
    assert torch.equal(data["image"].affine, data["scribble"].affine)
    return bool((image == 0).any())


@pytest.mark.parametrize("shape, family, name, label", CASES)
def test_void_exactly_where_there_is_no_image(shape, family, name, label):
    transform = VoidFilld("scribble", family(len(shape))[name]).set_random_state(3)
    out = transform(ones(shape, label))
    voids = [check(sample, label) for sample in (out if isinstance(out, list) else [out])]
    assert all(voids) if family is not crop_transforms else not any(voids)


@pytest.mark.parametrize("family", [grid_transforms, pad_transforms])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_check_sees_a_missing_wrapper(shape, family):
    for transform in family(len(shape)).values():
        with pytest.raises(AssertionError):
            check(mt.Compose(transform).set_random_state(3)(ones(shape)))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_label_value_survives(shape):
    data = ones(shape)
    data["scribble"] = MetaTensor(torch.arange(data["image"].numel()).remainder(256).to(torch.uint8).view(1, *shape))
    out = VoidFilld("scribble", mt.BorderPadd(KEYS, 1))(data)["scribble"]
    inside = out[(slice(None), *[slice(1, -1)] * len(shape))]
    assert torch.equal(inside.as_tensor(), data["scribble"].as_tensor())
    assert int((out == VOID).sum()) == out.numel() - inside.numel() + int((data["scribble"] == VOID).sum())


def pipeline():
    return VoidFilld(
        "scribble",
        [
            mt.SpatialPadd(KEYS, spatial_size=(18, 18)),
            mt.RandCropByLabelClassesd(KEYS, "scribble", (9, 9), num_classes=2, num_samples=3, warn=False),
            mt.RandAffined(prob=1, rotate_range=1.0, **NEAREST),
        ],
    )


def flat(samples):
    return torch.stack([sample["scribble"].as_tensor() for sample in samples])


def test_crops_by_class_see_the_labels_unshifted():
    data = ones((14, 12), UNLABELED)
    data["scribble"][0, 4, 5], data["scribble"][0, 9, 2] = 0, 1
    crop = mt.RandCropByLabelClassesd(KEYS, "scribble", (3, 3), ratios=[0, 1], num_classes=2, num_samples=4, warn=False)
    for sample in VoidFilld("scribble", crop)(data):
        assert sample["scribble"][0, 1, 1] == 1 and sample["scribble"].sum() == 8 * UNLABELED + 1


def test_random_state_reaches_the_inside():
    data = ones((14, 12))
    for seeded in (
        lambda seed: pipeline().set_random_state(seed),
        lambda seed: mt.Compose([pipeline()]).set_random_state(seed),
        lambda seed: (lambda t: set_rnd(t, seed) and t)(mt.Compose([pipeline()])),  # what a loader's worker does
    ):
        assert torch.equal(flat(seeded(1)(data)), flat(seeded(1)(data)))
        assert not torch.equal(flat(seeded(1)(data)), flat(seeded(2)(data)))


def test_lists_of_samples():
    out = VoidFilld("scribble", mt.BorderPadd(KEYS, 2))([ones((4, 6)), ones((6, 4))])
    assert [check(sample) for sample in out] == [True, True] and out[1]["image"].shape == (1, 10, 8)


def test_a_lazy_composition_around_changes_nothing():
    zoom = mt.Zoomd(KEYS, 0.8, mode="nearest", padding_mode="constant", keep_size=False)
    eager, lazy = (
        mt.Compose([zoom, pipeline()], lazy=lazy).set_random_state(5)(ones((14, 12))) for lazy in (False, True)
    )
    assert all([check(sample) for sample in lazy]) and torch.equal(flat(lazy), flat(eager))


@pytest.mark.parametrize(
    "transform, told",
    [
        (mt.RandAffined(KEYS, mode="nearest"), "'reflection'"),
        (mt.OneOf([mt.RandZoomd(KEYS, mode="nearest", padding_mode=["constant", "edge"])]), "'edge'"),
        (mt.Compose([mt.RandCropByLabelClassesd(KEYS, "scribble", 3)]), "direct members"),
    ],
)
def test_wrong_use_is_refused_at_once(transform, told):
    with pytest.raises(ValueError, match=told):
        VoidFilld("scribble", transform)
    if told != "direct members":
        VoidFilld("other", transform)


def test_interpolated_labels_are_refused():
    transform = VoidFilld("scribble", mt.Affined(KEYS, translate_params=[0.5, 0.0], padding_mode="zeros"))
    with pytest.raises(RuntimeError) as error:  # Compose wraps what a transform raises
        transform(ones((6, 6)))
    assert "'scribble'" in str(error.value.__cause__) and "nearest" in str(error.value.__cause__)


def test_missing_keys():
    with pytest.raises(RuntimeError):
        VoidFilld(["scribble", "label"], mt.BorderPadd(KEYS, 1))(ones((4, 4)))
    check(VoidFilld(["scribble", "label"], mt.BorderPadd(KEYS, 1), allow_missing_keys=True)(ones((4, 4))))
