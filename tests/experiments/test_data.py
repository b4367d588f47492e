# SPDX-License-Identifier: Apache-2.0
"""Which configurations and which data an experiment takes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from medwsss.__main__ import main
from medwsss.bundle import location
from medwsss.experiments import data
from medwsss.keys import UNLABELED, VOID
from tests.bundles.bundle import REPOSITORY


def test_overlays_are_a_bundles_own_or_files(photographs, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    files = data.bundle_files("scribble", ["acdc", str(mine)])
    assert files == ["bundles/scribble/train.json", "medwsss/experiments/settings/acdc.json", str(mine)]
    assert {"pce", "gd", "paper", "full"} <= set(data.method_names("scribble"))
    assert not {"train", "metadata", "evaluate"} & set(data.method_names("scribble"))


@pytest.mark.parametrize(
    ("bundle", "overlay", "message"),
    [
        ("scribbles", "pce", "expected a bundle of image_tags, remote_sensing, scribble, scribble_2d, got scribbles"),
        ("scribble", "pec", "a JSON file or one of .*'pce'.* for bundles/scribble, got 'pec'"),
        ("scribble_2d", "acdc", "for bundles/scribble_2d, got 'acdc'"),  # settings of volumes
        ("scribble", "absent.json", "got 'absent.json'"),
        ("scribble", "inference", "got 'inference'"),
    ],
)
def test_what_is_not_there_is_said(photographs, bundle, overlay, message):
    with pytest.raises(ValueError, match=message):
        data.bundle_files(bundle, [overlay])


def test_without_a_clone_the_installed_bundles_are_used(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "medwsss"
    shutil.copytree(REPOSITORY / "bundles", package / "bundles")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr(location, "BUNDLES", package / "bundles")
    settings = REPOSITORY / "medwsss/experiments/settings/acdc.json"
    expected = [*(package / f"bundles/scribble/{x}.json" for x in ("train", "pce")), settings]
    assert data.bundle_files("scribble", ["pce", "acdc"]) == [str(path) for path in expected]
    # the configuration for photographs takes parts of a file in the working folder
    with pytest.raises(ValueError, match="bundles/scribble/train.json, .* got none; medwsss bundle --copy . brings it"):
        data.bundle_files("scribble_2d", [])
    assert main(["bundle", "--copy", "."]) == 0
    assert data.bundle_files("scribble_2d", []) == ["bundles/scribble_2d/train.json"]


def test_a_study_that_nothing_makes(photographs, tmp_path):
    assert data.prepared(photographs.parent, []) == photographs.parent
    with pytest.raises(ValueError, match=f"dataset.json in {tmp_path}, got none"):
        data.prepared(tmp_path, [])


def test_shorter_strokes_lie_inside(photographs):
    study = photographs
    assert data.shortened(study, 1.0) == study
    short = data.shortened(study, 0.3)
    assert short.parent.name == "study_0.3" and short == data.shortened(study, 0.3)
    (name,) = {path.name for path in (short.parent / "scribbles").glob("*1*.png")}
    less, more = (
        np.asarray(Image.open(p)) for p in (short.parent / "scribbles" / name, study.parent / "scribble_1.png")
    )
    seeds = less < VOID
    assert 0 < seeds.sum() < (more < VOID).sum() and (less[seeds] == more[seeds]).all()
    assert ((less == VOID) == (more == VOID)).all() and (less == UNLABELED).any()


@pytest.mark.parametrize(
    ("items", "key"),
    [
        ([{"scribble": "s", "label": "l"}], "label"),
        ([{"scribble": "s", "label": "s", "mask": "l"}], "mask"),  # ACDC: the label is what trains
        ([{"scribble": "s", "label": "l"}, {"scribble": "t"}], None),
        ([{"scribble": "s", "label": "s"}], None),
    ],
)
def test_where_dense_masks_are(tmp_path, items, key):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"training": items}))
    if key:
        assert data.dense_key(path) == key
    else:
        message = rf"dense mask in every training item, got none in training\[{len(items) - 1}\], {path}"
        with pytest.raises(ValueError, match=message):
            data.dense_key(path)
