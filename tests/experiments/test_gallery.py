# SPDX-License-Identifier: Apache-2.0
"""A page of pictures of a run that took two epochs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from medwsss.experiments.__main__ import main
from tests.bundles.photographs import train, write_study


def test_a_page(tmp_path, monkeypatch, capsys):
    train(write_study(tmp_path / "study"), tmp_path / "run")
    shown = {}

    def render(image, **maps):
        shown[maps["title"]] = maps
        return np.zeros((4, 6, 3), np.uint8)

    monkeypatch.setattr("medwsss.experiments.gallery.render", render)
    words = ["gallery", "--runs", str(tmp_path / "run"), "--output", str(tmp_path / "page")]
    assert main([*words, "--cases", "2"]) == 0
    page = (tmp_path / "page" / "README.md").read_text()
    files = re.findall(r"\]\((.+?)\)", page)
    assert f"## {tmp_path / 'run'}" in page and [Image.open(tmp_path / "page" / f).size for f in files] == [(6, 4)] * 2
    assert [name.rsplit("-", 1)[0] for name in shown] == ["image_0", "image_2"]  # evenly
    for maps in shown.values():
        scribble, y, label = maps["scribble"][0], maps["pseudo_label"], maps["label"][0]
        seeds = scribble < 2
        assert (y.argmax(0)[seeds] == scribble[seeds]).all() and (y.amax(0)[seeds] == 1).all()
        assert (label[seeds] == scribble[seeds]).all() and (label < 2).sum() > 5 * seeds.sum()
        assert maps["prediction"].shape == y.shape
    assert main([*words, "--lam", "3"]) == 1 and "no overrides" in capsys.readouterr().err
    assert main(["gallery", "--runs", str(tmp_path)]) == 1 and f"none in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize("cases", [0, -1])
def test_a_page_of_nothing_is_refused(cases, capsys):
    assert main(["gallery", "--runs", "none", "--cases", str(cases)]) == 1
    assert f"at least one case, got {cases}" in capsys.readouterr().err
