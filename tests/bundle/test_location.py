# SPDX-License-Identifier: Apache-2.0
"""Bundles are found and copied wherever the package lies, and they are in it."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

from monai.bundle import ConfigParser as BundleParser

import medwsss
from medwsss.__main__ import main
from medwsss.bundle.location import bundle_folder, bundle_names, copy_bundles

REPOSITORY = Path(__file__).parents[2]
REAL = REPOSITORY / "bundles"


def printed(capsys, *words):
    assert main(["bundle", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_names_and_folders(capsys):
    names = sorted(path.name for path in REAL.iterdir())
    assert printed(capsys) == bundle_names() == names
    for name in names:
        assert printed(capsys, name) == [str(REAL / name)]


def test_unknown(capsys, tmp_path):
    assert main(["bundle", "scribbles", "--copy", str(tmp_path / "new")]) == 1
    assert (
        "expected a bundle of image_tags, remote_sensing, scribble, scribble_2d, got scribbles"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "new").exists()


def test_a_copy_is_whole_and_overwrites_nothing(capsys, tmp_path):
    assert printed(capsys, "scribble_2d", "--copy", tmp_path) == [str(tmp_path / "bundles/scribble_2d")]
    for path in REAL.rglob("*.json"):
        assert (tmp_path / "bundles" / path.relative_to(REAL)).read_bytes() == path.read_bytes()
    changed = tmp_path / "bundles/scribble/train.json"
    changed.write_text("mine")
    assert main(["bundle", "scribble", "--copy", str(tmp_path)]) == 1
    assert f"got {tmp_path / 'bundles'}" in capsys.readouterr().err and changed.read_text() == "mine"


def test_what_was_trained_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("medwsss.bundle.location.BUNDLES", tmp_path / "old")
    (tmp_path / "old/one/models").mkdir(parents=True)
    for name in ("train.json", "models/model.pt"):
        (tmp_path / "old/one" / name).write_text("{}")
    made = copy_bundles(tmp_path / "new")
    assert [path.name for path in made.rglob("*") if path.is_file()] == ["train.json"]


def test_a_copy_runs_from_its_folder(tmp_path, monkeypatch):
    """Files of scribble_2d name those of scribble relative to the working folder."""
    copy_bundles(tmp_path)
    monkeypatch.chdir(tmp_path)
    parser = BundleParser()
    parser.read_config("bundles/scribble_2d/train.json")
    parser.resolve_macro_and_relative_ids()
    assert parser["training"] == BundleParser.load_config_file(REAL / "scribble/train.json")["training"]


def test_the_package_holds_them():
    """Everything that a run reads, by the patterns of setup.cfg; no evidence, no trained model."""
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    package = Path(medwsss.__file__).parent
    patterns = setup["options.package_data"]["medwsss"].split()
    packed = {
        path.relative_to(package / "bundles").as_posix()
        for each in patterns
        for path in package.glob(each)
        if each.startswith("bundles/")
    }
    for name in bundle_names():
        folder = bundle_folder(name)
        needed = [*folder.glob("*.json"), *folder.glob("configs/*"), folder / "logging.conf", folder / "LICENSE"]
        assert {path.relative_to(folder.parent).as_posix() for path in needed} <= packed
    docs = {path for path in packed if "/docs/" in path}
    assert docs == {f"{name}/docs/README.md" for name in bundle_names()} and not any(
        "/models/" in path for path in packed
    )
