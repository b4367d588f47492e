# SPDX-License-Identifier: Apache-2.0
"""Which slices are kept, and what is drawn on them where."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from medwsss.keys import UNLABELED, VOID
from medwsss.reports.overlays import overlay
from medwsss.reports.slices import wrong_slices


def volume(across=2):
    """Slices of 6 x 4 voxels: the truth is a square; 1, 4 and 2 voxels are wrong in slices 1, 3 and 4 of 5."""
    truth = np.zeros((6, 4, 5), int)
    truth[1:3, 1:3] = 1
    pred = truth.copy()
    pred[5, 0, 1] = 1  # added
    pred[1:3, 1:3, 3] = 0  # missed
    pred[1, 1:3, 4] = 2  # confused
    image = np.arange(truth.size, dtype=float).reshape(1, *truth.shape)
    return tuple(np.moveaxis(each, -1, axis) for each, axis in ((image, across + 1), (pred, across), (truth, across)))


@pytest.mark.parametrize("across", [0, 1, 2])
def test_the_slices_with_most_errors_across_the_thick_axis(across):
    spacing = [1.0, 1.0, 1.0]
    spacing[across] = 5.0
    found = wrong_slices(*volume(across), spacing, "mm", count=2)
    assert found.numbers.tolist() == [4, 5] and found.count == 5 and found.thickness == 5
    assert found.wrong().tolist() == [4, 2]
    assert found.pred.shape == (2, 6, 4) and found.image.shape == (2, 6, 4, 3)


def test_of_a_perfect_case_the_slice_with_most_foreground():
    image, _, truth = volume()
    truth[4, :, 2] = 1
    truth[:, :, 0] = VOID
    found = wrong_slices(image, np.where(truth == VOID, 1, truth), truth, [1, 1, 1])
    assert found.numbers.tolist() == [3] and found.wrong().tolist() == [0]


def test_wrong_voxels_of_a_pseudo_label_count_too():
    image, pred, truth = volume()
    pseudo = truth.copy()
    pseudo[:, :, 0] = 1 - truth[:, :, 0]
    found = wrong_slices(image, pred, truth, [1, 1, 5], count=1, pseudo=pseudo, strokes=truth)
    assert found.numbers.tolist() == [1] and found.wrong().tolist() == [0]
    assert found.wrong_pseudo().tolist() == [truth[:, :, 0].size]
    svg = ElementTree.fromstring(overlay(found, 0, ""))
    assert list(paths(svg, "pseudo-label")) == ["pseudo-label class-1"] and "scribble class-0" in paths(svg, "scribble")


def test_void_and_unlabelled_voxels_are_no_errors():
    image, pred, truth = volume()
    truth[1:3, 1:3, 3] = VOID
    truth[1, 1:3, 4] = UNLABELED
    assert wrong_slices(image, pred, truth, [1, 1, 1]).numbers.tolist() == [2]


def test_grey_values_are_of_the_whole_volume():
    found = wrong_slices(*volume(), [1, 1, 5])
    low, high = np.percentile(np.arange(120), (1, 99))
    expected = ((volume()[0][0, :, :, 1] - low) / (high - low)).clip(0, 1) * 255
    np.testing.assert_allclose(found.image[0][..., 0], expected, atol=1)


def test_sides_are_where_the_axes_run_from_and_to():
    assert wrong_slices(*volume(), [1, 1, 5], "mm", "LPI").sides == "RLAP"  # axial: the patient's right is left
    assert wrong_slices(*volume(), [1, 5, 1], "mm", "LPI").sides == "RLSI"  # coronal
    assert wrong_slices(*volume(), [5, 1, 1], "mm", "LPI").sides == "APSI"  # sagittal


def test_a_picture_is_one_slice():
    image, pred, truth = (each[..., 1] for each in volume())
    found = wrong_slices(image, pred, truth, [1, 1])
    assert found.count == 1 and found.wrong().tolist() == [1] and found.sides == found.unit == ""


# ---- drawn


def drawn(**options):
    case = wrong_slices(*volume(), [2.0, 1.0, 5.0], "mm", "LPI")
    return [ElementTree.fromstring(overlay(case, i, f"slice {i} <&>", **options)) for i in range(len(case.pred))]


def paths(svg, layer):
    """Boxes of the outlines of a layer: smallest and largest x and y, by the classes of their group."""
    found = {}
    for group in svg.iter("g"):
        if layer in group.get("class", "").split():
            for path in group.iter("path"):
                points = np.array([pair.split() for pair in re.split("[MLZ]+", path.get("d")) if pair], float)
                found[path.get("class") if layer == "error" else group.get("class")] = (*points.min(0), *points.max(0))
    return found


def test_outlines_lie_between_pixels():
    added, missed, confused = drawn()
    square = {"truth class-1": (1, 1, 3, 3)}
    assert paths(added, "truth") == paths(missed, "truth") == paths(confused, "truth") == square
    assert paths(added, "prediction") == {"prediction class-1": (1, 0, 6, 3)}
    assert paths(missed, "prediction") == {}
    assert paths(confused, "prediction") == {"prediction class-1": (2, 1, 3, 3), "prediction class-2": (1, 1, 2, 3)}
    assert [paths(svg, "error") for svg in (added, missed, confused)] == [
        {"added": (5, 0, 6, 1)},
        {"missed": (1, 1, 3, 3)},
        {"confused": (1, 1, 2, 3)},
    ]


def test_proportions_scale_bar_and_sides():
    """Pixels of 2 x 1 mm: 12 x 4 units of 1 mm; a third of 12 mm is at most 3.6: a bar of 2 mm."""
    svg = drawn()[0]
    assert svg.get("viewBox") == "0 0 12 4" and svg.get("aria-label") == "slice 0 <&>"
    assert "scale(2 1)" in [group.get("transform") for group in svg.iter("g")]
    texts = [text.text for text in svg.iter("text")]
    assert texts == ["2 mm", "R", "L", "A", "P"]
    start, end = re.match(
        r"M(\S+) \S+H(\S+)", next(g for g in svg.iter("g") if g.get("class") == "scale")[0].get("d")
    ).groups()
    assert float(end) - float(start) == pytest.approx(2)
    image = imread(io.BytesIO(base64.b64decode(next(svg.iter("image")).get("href").split(",")[1])))
    assert image.shape[:2] == (4, 6)  # rows run down


def test_strokes_are_areas_of_all_classes():
    case = wrong_slices(*volume(), [1.0, 1.0, 5.0])
    svg = ElementTree.fromstring(overlay(case, 0, "", strokes=True))
    assert set(paths(svg, "scribble")) == {"scribble class-0", "scribble class-1"} and not paths(svg, "truth")
    assert [text.text for text in svg.iter("text")] == []  # no unit, no bar
