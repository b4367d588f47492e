# SPDX-License-Identifier: Apache-2.0
"""Simulated and shortened scribbles: inside their class, nested, repeatable, the same in an image and in a volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from scipy import ndimage

from medwsss.keys import UNLABELED, VOID
from medwsss.transforms import ShortenScribble, ShortenScribbled, SimulateScribble, SimulateScribbled
from medwsss.transforms.scribbles import strokes
from medwsss.transforms.scribbles.array import KINDS

STROKES = [kind for kind in KINDS if kind != "box"]
EVERYWHERE = np.ones((3, 3))  # corners touch, too


def simulate(mask, seed=0, num_classes=4, **options):
    """What is drawn into an array without channel axis, as an array."""
    transform = SimulateScribble(num_classes, **options).set_random_state(seed)
    return transform(np.asarray(mask)[None])[0].numpy()


def shorten(scribble, ratio, **options):
    return ShortenScribble(ratio, **options)(scribble[None])[0].numpy()


def drawn(scribble):
    return scribble < VOID


def is_within(small, large):
    """Every annotation of ``small`` is one of ``large``."""
    return bool((small == large)[drawn(small)].all())


def disc(shape, center, radius):
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.linalg.norm(grid - np.array(center), axis=-1) <= radius


@pytest.fixture
def image():
    """48 x 40: a disc, a ring, two bars, a lone voxel and an island of background inside the ring."""
    mask = np.zeros((48, 40), np.uint8)
    mask[disc(mask.shape, (12, 12), 8)] = 1
    mask[disc(mask.shape, (32, 25), 11) & ~disc(mask.shape, (32, 25), 6)] = 2
    mask[3:6, 22:38] = mask[46:, 1:7] = 3
    mask[40, 3] = 3
    return mask


@pytest.fixture
def volume(image):
    """Five slices, each a little different."""
    return np.stack([np.roll(image, z, 0) for z in range(5)], -1)


@pytest.mark.parametrize("kind", STROKES)
class TestEveryKind:
    @pytest.mark.parametrize("width", [1, 4])
    @pytest.mark.parametrize("seed", range(5))
    def test_never_leaves_its_class_and_reaches_every_region(self, image, kind, width, seed):
        scribble = simulate(image, seed, kind=kind, background=kind, width=width, jitter=1.0, length_ratio=0.3)
        assert is_within(scribble, image)
        for k in range(4):
            regions, count = ndimage.label(image == k, EVERYWHERE)
            assert set(regions[scribble == k]) == set(range(1, count + 1))

    def test_shorter_and_thinner_ones_lie_inside_and_coverage_grows(self, volume, kind):
        ratios, widths = (0.0, 0.3, 0.5, 1.0), (1, 2, 3, 5)
        for width in widths:
            scribbles = [simulate(volume, kind=kind, width=width, length_ratio=ratio) for ratio in ratios]
            assert all(is_within(a, b) for a, b in zip(scribbles, scribbles[1:]))
        brushes = [simulate(volume, kind=kind, width=width, length_ratio=0.5) for width in widths]
        assert all(is_within(a, b) and drawn(a).sum() < drawn(b).sum() for a, b in zip(brushes, brushes[1:]))

    def test_ratio_zero_is_one_voxel_a_region(self, image, kind):
        scribble = simulate(image, kind=kind, background=kind, length_ratio=0)
        regions = sum(ndimage.label(image == k, EVERYWHERE)[1] for k in range(4))
        assert drawn(scribble).sum() == regions == 7

    def test_an_image_is_a_volume_of_one_slice_and_a_slice_does_not_see_the_others(self, image, volume, kind):
        options = {"kind": kind, "background": kind, "width": 2, "length_ratio": 0.6}
        assert np.array_equal(simulate(image, **options), simulate(image[..., None], **options)[..., 0])
        alone, changed = simulate(volume, **options), volume.copy()
        changed[..., 3] = 0
        assert np.array_equal(simulate(changed, **options)[..., :3], alone[..., :3])
        assert np.array_equal(alone[..., 0], simulate(volume[..., 0], **options))

    def test_the_slice_axis_is_a_matter_of_names(self, volume, kind):
        turned = simulate(np.moveaxis(volume, 2, 0), kind=kind, slice_axis=0)
        assert np.array_equal(np.moveaxis(turned, 0, 2), simulate(volume, kind=kind))

    def test_seed(self, image, kind):
        again = [simulate(image, seed, kind=kind) for seed in (0, 0, 1)]
        assert np.array_equal(again[0], again[1])
        assert kind == "block" or not np.array_equal(again[0], again[2])

    def test_numbers_of_classes_do_not_matter(self, image, kind):
        permutation = np.array([2, 3, 1, 0], np.uint8)
        scribble = simulate(image, kind=kind, background=kind)
        expected = np.where(drawn(scribble), permutation[scribble * drawn(scribble)], scribble)
        assert np.array_equal(simulate(permutation[image], kind=kind, background=kind), expected)

    @pytest.mark.parametrize("shape", [(1,), (7,), (1, 1), (1, 9), (9, 1), (2, 2), (1, 1, 1), (6, 5, 1), (1, 5, 4)])
    @pytest.mark.parametrize("slice_axis", [None, 2])
    def test_smallest_sizes(self, shape, slice_axis, kind):
        scribble = simulate(np.ones(shape, np.uint8), kind=kind, slice_axis=slice_axis, length_ratio=0.2)
        assert scribble.shape == shape and (scribble == 1).any() and set(np.unique(scribble)) <= {1, UNLABELED}

    def test_through_the_volume(self, volume, kind):
        scribble = simulate(volume, kind=kind, background=None, slice_axis=None, length_ratio=0.5)
        assert is_within(scribble, volume)
        for k in range(1, 4):
            regions, count = ndimage.label(volume == k, np.ones((3, 3, 3)))
            assert set(regions[scribble == k]) == set(range(1, count + 1))


class TestKinds:
    def test_centerline_of_a_bar(self):
        """A steady hand stays on the bar's middle row, leaving out a bit at both ends, and starts from its centre."""
        bar = np.zeros((15, 61), np.uint8)
        bar[5:10, 3:58] = 1
        rows, columns = np.nonzero(simulate(bar, jitter=0, background=None) == 1)
        assert set(rows) == {7} and len(columns) == np.ptp(columns) + 1
        assert 0.65 * 55 < len(columns) < 0.8 * 55
        ((row, column),) = np.argwhere(simulate(bar, jitter=0, background=None, length_ratio=0) == 1)
        assert row == 7 and abs(column - 30) <= 2

    def test_centerline_of_a_ring_goes_round(self):
        """Radii 16 and 24: the stroke keeps to 20 and spans three quarters of the circle, not half of it."""
        ring = (disc((61, 61), (30, 30), 24) & ~disc((61, 61), (30, 30), 16)).astype(np.uint8)
        points = np.argwhere(simulate(ring, jitter=0, background=None) == 1) - 30
        assert abs(np.linalg.norm(points, axis=1) - 20).max() < 2
        angles = np.sort(np.degrees(np.arctan2(*points.T)))
        assert 255 < 360 - np.diff(angles, append=angles[0] + 360).max() < 285

    @pytest.mark.parametrize("step", [4, 6, 8])
    def test_big_regions_are_like_small_ones(self, step):
        """Thinning works on a coarser grid there: the middle of a wide bar is still its middle."""
        bar = np.zeros((12 * step, 50 * step), np.uint8)
        bar[2 * step : 10 * step, 2 * step : 48 * step] = 1
        rows, columns = np.nonzero(simulate(bar, jitter=0, background=None) == 1)
        assert abs(rows.mean() - 6 * step) < 1.5 * step and 0.5 * 46 * step < np.ptp(columns) < 46 * step

    def test_border_keeps_its_margin(self):
        field = 1 - disc((81, 81), (40, 40), 15).astype(np.uint8)
        radii = np.linalg.norm(np.argwhere(simulate(field, kind="border", jitter=0, margin=9) == 1) - 40, axis=1)
        assert abs(radii - 15 - 9).max() < 2 and len(radii) > 0.6 * 2 * np.pi * 24

    def test_border_stays_half_way_to_the_middle(self):
        ball = disc((61, 61), (30, 30), 20).astype(np.uint8)
        scribble = simulate(ball, kind="border", background=None, jitter=0, margin=50)
        radii = np.linalg.norm(np.argwhere(scribble == 1) - 30, axis=1)
        assert abs(radii - 10).max() < 2

    def test_click_is_near_the_middle(self):
        ball = disc((41, 41), (20, 20), 15).astype(np.uint8)
        clicks = [np.argwhere(simulate(ball, seed, kind="click", background=None) == 1) for seed in range(20)]
        assert all(len(points) == 1 and np.linalg.norm(points - 20) <= 8.5 for points in clicks)
        assert len({tuple(points[0]) for points in clicks}) > 10

    @pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 1.0])
    def test_block_has_the_area_asked_for_and_lies_in_the_middle(self, share):
        ball = disc((41, 41), (20, 20), 15).astype(np.uint8)
        scribble = simulate(ball, kind="block", background=None, length_ratio=share)
        assert (scribble == 1).sum() == round(share * ball.sum())
        # a disc of that area has √share of the radius
        radii = np.linalg.norm(np.argwhere(scribble == 1) - 20, axis=1)
        assert radii.max() < 15 * share**0.5 + 1.5

    def test_box(self):
        """By hand: the box of rows 4..6 and columns 5..9, widened by 2, is rows 2..8 and columns 3..11."""
        mask = np.zeros((12, 15), np.uint8)
        mask[4, 5:10] = mask[4:7, 5] = 1
        mask[0, 14] = 2
        mask[11, 4] = VOID  # has no box
        expected = np.zeros_like(mask)
        expected[2:9, 3:12] = UNLABELED
        expected[0:3, 12:15] = UNLABELED
        expected[11, 4] = VOID
        assert np.array_equal(simulate(mask, kind="box", margin=2), expected)
        alone = simulate(
            mask, kind="box", margin=2, min_size=2
        )  # the voxel in the corner is no region then, nor a seed
        assert alone[0, 13] == 0 and alone[0, 14] == UNLABELED
        both = simulate(mask, background="box", margin=2)
        assert (both == 1).any() and (both == 2).any() and np.array_equal(both == 0, expected == 0)

    def test_brush_is_as_wide_as_asked(self):
        bar = np.zeros((21, 61), np.uint8)
        bar[2:19, 3:58] = 1
        for width in (1, 2, 3, 4, 5):
            rows = np.nonzero(simulate(bar, jitter=0, background=None, width=width)[:, 30] == 1)[0]
            assert len(rows) == width

    def test_brush_is_round(self):
        """Pixels within half the width of the centre, by hand: a width of 5 has 5 x 5 but the corners, at 2.83."""
        field = np.ones((41, 41), np.uint8)
        dabs = [simulate(field, kind="click", width=width) for width in (1, 2, 3, 4, 5)]
        assert [int((dab == 1).sum()) for dab in dabs] == [1, 4, 9, 12, 21]

    def test_rings_are_cut_anywhere(self):
        ring = (disc((41, 41), (20, 20), 18) & ~disc((41, 41), (20, 20), 12)).astype(np.uint8)
        gaps = set()
        for seed in range(24):
            points = np.argwhere(simulate(ring, seed, jitter=0, background=None) == 1) - 20
            angles = np.sort(np.degrees(np.arctan2(*points.T)))
            gaps.add(int(angles[np.diff(angles, append=angles[0] + 360).argmax()] // 90))
        assert len(gaps) == 4

    def test_border_goes_round_the_larger_of_two_objects(self):
        field = np.zeros((60, 90), np.uint8)
        field[disc(field.shape, (10, 12), 4)] = field[disc(field.shape, (35, 60), 15)] = 1
        points = np.argwhere(simulate(field, margin=3, jitter=0) == 0)
        assert abs(np.linalg.norm(points - (35, 60), axis=1) - 18).max() < 2

    def test_a_picture_of_one_class_has_its_frame_for_a_border(self):
        rows, columns = np.nonzero(simulate(np.ones((21, 61), np.uint8), jitter=0) == 1)
        assert set(rows) == {10} and 20 < len(columns) < 50

    def test_a_cube_whose_skeleton_is_empty(self):
        cube = np.zeros((4, 4, 4), np.uint8)
        cube[1:3, 1:3, 1:3] = 1
        assert (simulate(cube, slice_axis=None, background=None) == 1).any()

    def test_a_hand_that_misses_its_voxel_every_time_still_marks_it(self):
        region = np.zeros((5, 5), bool)
        region[2, 2] = True
        for seed in range(600):
            stroke = strokes.centerline(region, region.astype(float), 1.0, 14, np.random.default_rng(seed))
            assert stroke.tolist() == [[2, 2]]

    def test_jitter_makes_the_hand_stray(self):
        ball = disc((61, 61), (30, 30), 25).astype(np.uint8)
        steady, loose = (simulate(ball, background=None, jitter=jitter) for jitter in (0, 0.8))
        assert (steady == 1).sum() <= 4 and (loose == 1).sum() > 50  # a disc's centre line has no length


class TestWhere:
    def test_background(self, image):
        assert not (simulate(image, background=None) == 0).any()
        for kind in STROKES:
            assert len(np.unique(ndimage.label(image == 0, EVERYWHERE)[0][simulate(image, background=kind) == 0])) == 2

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_foreground(self, kind):
        scribble = simulate(np.zeros((9, 8, 3), np.uint8), kind=kind)
        assert set(np.unique(scribble)) <= {0, UNLABELED} and (scribble == 0).any((0, 1)).all()
        assert not drawn(simulate(np.zeros((9, 8), np.uint8), kind="click", background=None)).any()

    def test_void_and_unlabelled(self, image):
        image[:, :14], image[20:24] = VOID, UNLABELED
        image[0, 20:] = 77
        for kind in KINDS:
            scribble = simulate(image, kind=kind, width=3, length_ratio=1, ignore_values=77)
            assert np.array_equal(scribble == VOID, image == VOID)
            assert (scribble[20:24, 14:] == UNLABELED).all() and (scribble[0, 20:] == UNLABELED).all()
            assert is_within(scribble[1:], image[1:])

    def test_nothing_but_void(self):
        void = np.full((5, 6), VOID, np.uint8)
        for kind in KINDS:
            assert np.array_equal(simulate(void, kind=kind), void)

    @pytest.mark.parametrize(
        "count, step, expected", [(9, 3, (1, 4, 7)), (10, 3, (0, 3, 6, 9)), (1, 4, (0,)), (3, 1, (0, 1, 2))]
    )
    def test_slice_step(self, image, count, step, expected):
        scribble = simulate(np.stack([image] * count, -1), slice_step=step)
        assert tuple(np.flatnonzero(drawn(scribble).any((0, 1)))) == expected

    def test_slice_share_is_nested(self, image):
        volume = np.stack([image] * 10, -1)
        shares = (0.0, 0.3, 0.5, 1.0)
        scribbles = [simulate(volume, slice_share=share) for share in shares]
        assert [drawn(s).any((0, 1)).sum() for s in scribbles] == [1, 3, 5, 10]
        assert all(is_within(a, b) for a, b in zip(scribbles, scribbles[1:]))
        other = simulate(volume, 1, slice_share=0.3)
        assert not np.array_equal(drawn(other).any((0, 1)), drawn(scribbles[1]).any((0, 1)))

    def test_min_size(self, image):
        counts = [(simulate(image, min_size=size)[40, 3] == 3) for size in (1, 2)]
        assert counts == [True, False]

    def test_per_class_takes_the_largest(self, image):
        scribble = simulate(image, per_class=True)
        assert (scribble[3:6] == 3).any() and not (scribble[40:] == 3).any()

    def test_coverage(self, image):
        transform = SimulateScribble(5, kind="block", background="block", length_ratio=0.5).set_random_state(0)
        out = transform(MetaTensor(torch.from_numpy(image)[None]))
        shares = [(out[0].numpy() == k).sum() / max((image == k).sum(), 1) for k in range(5)]
        assert out.meta["coverage"] == pytest.approx(shares) and out.meta["coverage"][1] == pytest.approx(0.5, abs=0.01)
        assert out.meta["coverage"][4] == 0


class TestShorten:
    def test_of_a_line(self):
        """30 voxels, the middle one is the sixteenth: half of them reach from the 9th to the 23rd."""
        scribble = np.full((5, 40), UNLABELED, np.uint8)
        scribble[2, 4:34] = 3
        assert np.flatnonzero(shorten(scribble, 0)[2] == 3) in (18, 19)
        half = np.flatnonzero(shorten(scribble, 0.5)[2] == 3)
        assert len(half) == 15 == np.ptp(half) + 1 and abs(half.mean() - 18.5) <= 0.5
        assert np.array_equal(shorten(scribble, 1), scribble)

    @pytest.mark.parametrize("width", [1, 3])
    @pytest.mark.parametrize("kind", STROKES)
    def test_nested_connected_and_never_none(self, volume, kind, width):
        long = simulate(volume, kind=kind, background=kind, width=width, length_ratio=0.4)
        long[0] = VOID
        shorter = [shorten(long, ratio) for ratio in (0, 0.3, 0.5, 0.8, 1)]
        assert np.array_equal(shorter[-1], long)
        assert all(is_within(a, b) and drawn(a).sum() <= drawn(b).sum() for a, b in zip(shorter, shorter[1:]))
        assert all(np.array_equal(s == VOID, long == VOID) for s in shorter)
        for z in range(volume.shape[2]):
            for k in range(4):
                counts = [ndimage.label(s[..., z] == k, EVERYWHERE)[1] for s in shorter]
                assert len(set(counts)) == 1
                assert (shorter[0][..., z] == k).sum() == counts[0]

    def test_slices_and_volumes(self, volume):
        long = simulate(volume)
        assert np.array_equal(shorten(long[..., 2], 0.4), shorten(long, 0.4)[..., 2])
        line = np.full((3, 3, 21), UNLABELED, np.uint8)
        line[1, 1] = 2
        assert drawn(shorten(line, 0)).sum() == 21 and drawn(shorten(line, 0, slice_axis=None)).sum() == 1
        assert np.flatnonzero(drawn(shorten(line, 0.34, slice_axis=None))[1, 1]).tolist() == list(range(7, 14))

    def test_nothing_to_shorten(self):
        empty = np.full((4, 5), UNLABELED, np.uint8)
        assert np.array_equal(shorten(empty, 0.3), empty)


class TestDictionary:
    def test_composed_and_seeded(self, image):
        item = {"label": torch.from_numpy(image)[None]}
        chain = Compose([SimulateScribbled("label", 4, output_keys="scribble"), ShortenScribbled("scribble", 0.5)])
        first, again = (chain.set_random_state(3)(item) for _ in range(2))
        assert torch.equal(first["scribble"], again["scribble"]) and torch.equal(first["label"], item["label"])
        assert not torch.equal(first["scribble"], chain(item)["scribble"])

    def test_all_options_arrive(self):
        options = {
            "kind": "border",
            "background": None,
            "length_ratio": 0.4,
            "width": 2,
            "jitter": 0.1,
            "margin": 3.0,
            "per_class": True,
            "slice_axis": 1,
            "slice_step": 2,
            "slice_share": 0.5,
            "min_size": 7,
        }
        transform = SimulateScribbled("label", 3, **options, ignore_values=[9]).simulate
        assert {name: getattr(transform, name) for name in options} == options and transform.labels.table[
            9
        ] == UNLABELED

    def test_missing_keys(self):
        assert SimulateScribbled("label", 2, allow_missing_keys=True)({}) == {}
        with pytest.raises(KeyError):
            ShortenScribbled("scribble", 0.5)({})
        with pytest.raises(ValueError, match="expected an output key for each"):
            SimulateScribbled(["a", "b"], 2, output_keys="c")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "spiral"}, "expected one of the kinds .*, got 'spiral'"),
        ({"background": "none"}, "expected one of the kinds .*, got 'none'"),
        ({"length_ratio": 1.2}, "expected length_ratio from 0 to 1, got 1.2"),
        ({"length_ratio": float("nan")}, "expected length_ratio from 0 to 1, got nan"),
        ({"width": 0}, "expected width of at least 1, got 0"),
        ({"slice_step": 0}, "expected slice_step of at least 1, got 0"),
        ({"jitter": -0.1}, "expected jitter from 0 to 1, got -0.1"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        SimulateScribble(2, **options)


def test_refused_data():
    with pytest.raises(ValueError, match=r"got 7 \(1 voxels\) in here.nii"):
        SimulateScribble(2)(MetaTensor(torch.tensor([[[0, 1, 7]]]), meta={"filename_or_obj": "here.nii"}))
    for shape in ((2, 4, 4), (1, 2, 2, 2, 2), (1,)):
        with pytest.raises(ValueError, match="expected one channel and one to three spatial axes"):
            SimulateScribble(2)(torch.zeros(shape))
