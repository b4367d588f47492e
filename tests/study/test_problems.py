# SPDX-License-Identifier: Apache-2.0
"""Many problems of one kind are told of briefly, and none of another kind is hidden by them."""

from __future__ import annotations

import pytest

from medwsss.study.problems import briefly, raise_problems


def test_a_few_of_each_kind():
    dense = [
        f"expected a scribble, got {n}% labelled voxels in /data/labels/{n:03}.png; say so (dense)" for n in range(90)
    ]
    other = ["expected one affine, got another in /data/a.nii.gz", "tag 'cat' in no image", "tag 'dog' in no image"]
    assert briefly([*dense[:40], *other, *dense[40:]]) == [*dense[:5], "... and 85 more like it", *other]


def test_six_are_six_lines():
    """A line that says "one more" takes as much room as the one more."""
    assert briefly(map(str, range(6))) == list("012345")
    assert briefly([]) == []


def test_all_are_counted():
    with pytest.raises(ValueError, match="got 9 problems:\n1 a\n2 a\n3 a\n4 a\n5 a\n... and 4 more like it$"):
        raise_problems([f"{n} a" for n in range(1, 10)])
    raise_problems([])
