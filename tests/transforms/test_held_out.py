# SPDX-License-Identifier: Apache-2.0
"""Seeds set aside: which, how many, and always the same."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Lambdad
from scipy import ndimage

from medwsss.keys import HELD_OUT, SCRIBBLE, UNLABELED, VOID
from medwsss.terms.simplex import seed_mask
from medwsss.transforms import HoldOutSeedsd, keep_all_seeds

ROWS = [(0, 0), (0, 2), (0, 4), (0, 6), (0, 8), (1, 10), (1, 12)]


def strokes(dtype=torch.uint8):
    """Horizontal strokes of ten voxels, five of class 0 and two of class 1, and a border of VOID."""
    scribble = torch.full((1, 14, 12), UNLABELED, dtype=dtype)
    scribble[..., 11] = VOID
    for k, row in ROWS:
        scribble[0, row, :10] = k
    return scribble


def split(scribble, share, name="case.nii", seed=0):
    image = MetaTensor(scribble, meta={"filename_or_obj": f"folder/{name}"})
    result = HoldOutSeedsd(SCRIBBLE, share, seed)({SCRIBBLE: image})
    return result[SCRIBBLE], result[HELD_OUT]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_strokes_are_set_aside_whole(dtype):
    """0.4 of 50 voxels are two strokes of five, 0.5 of 20 one of two; 0.59 of 50 is not three."""
    for share, counts in ((0.4, (2, 0)), (0.5, (2, 1)), (0.59, (2, 1))):
        kept, held_out = split(strokes(dtype), share)
        rows = [held_out[0, row, :10] for _, row in ROWS]
        whole = [(k, bool((row == k).all())) for (k, _), row in zip(ROWS, rows)]
        assert whole.count((0, True)) == counts[0]
        assert counts[1] == 0 or whole.count((1, True)) == counts[1]
        assert kept.dtype == held_out.dtype == dtype
        assert kept.meta["filename_or_obj"] == held_out.meta["filename_or_obj"]


def test_part_of_a_stroke_where_none_fits():
    """0.3 of 20 voxels are less than a stroke of ten: six in a row, two or so from either end."""
    _, held_out = split(strokes(), 0.3)
    columns = (held_out[0] == 1).nonzero()
    assert len(columns) == 6 and len(columns[:, 0].unique()) == 1
    assert columns[:, 1].tolist() == list(range(columns[0, 1], columns[0, 1] + 6))
    assert columns[0, 1] >= 1 and columns[-1, 1] <= 8


def test_a_diagonal_line_is_one_stroke():
    scribble = torch.full((1, 20, 20), UNLABELED)
    scribble[0, range(20), range(20)] = 0
    columns = (split(scribble, 0.5)[1][0] == 0).nonzero()[:, 0]
    assert columns.tolist() == list(range(columns[0], columns[0] + 10)) and 3 <= columns[0] <= 7


def random_scribble(shape):
    generator = torch.Generator().manual_seed(5)
    draw = torch.rand((1, *shape), generator=generator)
    scribble = torch.where(draw < 0.2, 0, torch.where(draw < 0.35, 1, torch.where(draw < 0.38, VOID, UNLABELED)))
    return scribble.to(torch.uint8)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_disjoint_complete_and_never_all(shape, share):
    scribble = random_scribble(shape)
    kept, held_out = split(scribble, share)
    aside = seed_mask(held_out)
    assert torch.equal(torch.where(aside, held_out, kept), scribble)  # VOID is where it was
    assert (kept[aside] == UNLABELED).all() and (held_out[~aside] == UNLABELED).all()
    for k in scribble[seed_mask(scribble)].unique():
        count, taken = (scribble == k).sum(), (held_out == k).sum()
        sizes = sizes_of((scribble == k)[0].numpy())
        assert (kept == k).any()
        assert share * count - max(sizes) < taken <= share * count
        assert taken > 0 or int(share * count) == 0


def sizes_of(mask):
    numbered, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    return [int((numbered == i).sum()) for i in range(1, count + 1)]


def test_smaller_shares_are_inside_larger_ones(shape):
    scribble = random_scribble(shape)
    smaller = seed_mask(split(scribble, 0.0)[1])
    for share in (0.05, 0.1, 0.2, 0.4, 0.8):
        larger = seed_mask(split(scribble, share)[1])
        assert not (smaller & ~larger).any()
        smaller = larger


def test_the_same_whenever_a_case_is_loaded():
    torch.manual_seed(1)
    one = split(strokes(), 0.4)[1]
    torch.manual_seed(2)
    assert torch.equal(one, split(strokes(), 0.4)[1])
    for option, values in (("name", "abcdef"), ("seed", range(1, 7))):
        others = [split(strokes(), 0.4, **{option: value})[1] for value in values]
        assert not all(torch.equal(one, other) for other in others)  # by chance: 10⁻⁶


def test_other_classes_do_not_matter():
    alone = torch.where(strokes() == 1, 1, UNLABELED).to(torch.uint8)
    with_others, without = split(strokes(), 0.5)[1], split(alone, 0.5)[1]
    assert torch.equal(with_others == 1, without == 1)


def test_a_plain_tensor_and_a_case_without_seeds():
    empty = torch.full((1, 4, 4), UNLABELED)
    result = HoldOutSeedsd()({SCRIBBLE: empty})
    assert torch.equal(result[SCRIBBLE], empty) and torch.equal(result[HELD_OUT], empty)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_wrong_share(share):
    with pytest.raises(ValueError, match="expected a share of at least 0 and less than 1, got"):
        HoldOutSeedsd(share=share)


def test_the_same_way_with_nothing_set_aside():
    way = Compose(
        [Lambdad(SCRIBBLE, lambda x: x + 0), HoldOutSeedsd(SCRIBBLE, 0.4), Lambdad(SCRIBBLE, lambda x: x * 1)]
    )
    kept = keep_all_seeds(way)({SCRIBBLE: strokes()})
    assert torch.equal(kept[SCRIBBLE], strokes()) and HELD_OUT not in kept
    assert len(way.transforms) == 3 and (way({SCRIBBLE: strokes()})[SCRIBBLE] != strokes()).any()
