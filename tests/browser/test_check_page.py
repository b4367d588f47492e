# SPDX-License-Identifier: Apache-2.0
"""The pages in a browser, where there is one; and that the check finds what is wrong with a page."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from medwsss.reports.cases import article, layers, switches
from medwsss.reports.page import page, table
from medwsss.reports.slices import wrong_slices

SCRIPT = Path(__file__).with_name("check_page.js")


def check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["node", str(SCRIPT), *words], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def browser():
    """Skips without what the check needs."""
    found = os.environ.get("CHROMIUM") or any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    if not shutil.which("node") or not found:
        pytest.skip("needs node and Chromium")
    code = "require.resolve('puppeteer-core'); require.resolve('axe-core/axe.min.js')"
    if subprocess.run(["node", "-e", code], cwd=SCRIPT.parent, capture_output=True).returncode:
        pytest.skip("needs npm install --no-save puppeteer-core axe-core, or NODE_PATH")


def test_a_page_of_cases(browser, tmp_path):
    truth = np.zeros((12, 10, 3), int)
    truth[3:8, 2:6] = 1
    strokes = np.where(np.arange(10)[:, None] == 4, truth, 255)
    maps = {"pred": np.roll(truth, 1, 0), "truth": truth, "pseudo": np.roll(truth, 1, 1), "strokes": strokes}
    slices = wrong_slices(np.random.default_rng(0).random((1, 12, 10, 3)), spacing=[1, 1, 3], unit="mm", **maps)
    names = ["background", "organ"]
    body = [*layers(names, [slices]), article("A case", "Dice: 0.9.", slices), table("Figures", ["a"] * 9, [["1"] * 9])]
    page(tmp_path / "good.html", "Cases", body, switches(names))
    done = check(str(tmp_path / "good.html"), "--pictures", str(tmp_path / "pictures"))
    assert (done.stdout, done.returncode) == ("1 pages, 0 faults\n", 0), done.stdout + done.stderr
    assert len(list((tmp_path / "pictures").glob("0_good*.png"))) == 5  # four screens, and as it prints
    assert (tmp_path / "pictures" / "0_good.pdf").read_bytes()[:4] == b"%PDF"
    page(
        tmp_path / "bad.html", "Cases", [*body, "<img src='data:,'>", "<p style='width: 2000px'>wide</p>"]
    )  # no switches
    done = check(str(tmp_path / "bad.html"))
    assert done.returncode == 1
    for told in ("axe image-alt (critical)", "wider than the screen", "prediction: 3 of 3 shown"):
        assert told in done.stdout


def test_what_it_is_not_told(browser):
    assert check().returncode == 2 and "usage: node" in check("nowhere.html").stderr
