# SPDX-License-Identifier: Apache-2.0
"""What all converters promise: whole files, the same bytes however they came about, and bad input named."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import json
import multiprocessing
import os
import random
import re
import shlex
import shutil
import signal
from collections import namedtuple
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from data_prep.__main__ import COMMANDS
from data_prep.engine.journal import Journal
from data_prep.engine.summary import training_command
from medwsss.keys import UNLABELED
from tests.data_prep import trees
from tests.toy_training import Typed, in_process, observed_writes, processes

# the server that processes are forked from imports every command once
processes.set_forkserver_preload(["tests.toy_training", "torch._dynamo", *(module for module, _ in COMMANDS.values())])
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def source(tmp_path):
    return trees.decathlon(tmp_path / "source")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


def test_a_study_has_the_promised_form(source, output, capsys):
    content = trees.convert("decathlon", source, output)
    assert content["labels"] == {"0": "class 0", "1": "class 1", "2": "class 2"}
    assert (content["num_classes"], content["ignore_values"], content["void_values"]) == (3, [UNLABELED], [])
    assert (len(content["training"]), len(content["validation"])) == (3, 1)  # a fifth of four, at least one
    names = {item["image"] for item in content["training"] + content["validation"]}
    assert names == {f"images/case_{n:02d}.nii.gz" for n in range(4)}
    for n in range(4):
        name = f"case_{n:02d}.nii.gz"
        assert (output / "images" / name).read_bytes() == (source / "imagesTr" / name).read_bytes()
        labels, affine = trees.load(output / "labels" / name)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, trees.dense(3))
        np.testing.assert_array_equal(affine, trees.AFFINE)
    files = {"dataset.json", *names, *(name.replace("images", "labels") for name in names)}
    assert trees.digest(output).keys() == files
    printed = capsys.readouterr().out
    assert "training           3         3" in printed
    assert f"--dataset_dir {output} --num_classes 3 --ignore_values '[255]' --annotation_key label" in printed


def test_same_bytes_from_one_and_two_processes_and_from_a_source_elsewhere(source, output, tmp_path):
    trees.convert("decathlon", source, output)
    trees.convert("decathlon", source, tmp_path / "two", "--workers", 2)
    moved = shutil.copytree(source, tmp_path / "elsewhere" / "source", copy_function=shutil.copyfile)  # with new dates
    trees.convert("decathlon", moved, tmp_path / "moved")
    assert trees.digest(output) == trees.digest(tmp_path / "two") == trees.digest(tmp_path / "moved")


def convert_struck(source: Path, output: Path, at: int = 0) -> None:
    """Convert in this process; at the ``at``-th step of writing files, be killed."""
    passed = 0

    def point(_: str) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)

    with observed_writes(point):
        assert trees.run("decathlon", source, output) == 0
    (output.parent / "points").write_text(str(passed))


def test_killed_anywhere_it_leaves_whole_files_and_goes_on_to_the_same_bytes(source, tmp_path):
    assert in_process(convert_struck, source, tmp_path / "whole") == 0
    expected = trees.digest(tmp_path / "whole")
    points = int((tmp_path / "points").read_text())
    assert points >= 3 * len(expected)  # write, fsync and rename of each
    for at in [1, *random.Random(0).sample(range(2, points), 5), points]:
        output = tmp_path / f"killed_{at}"
        assert in_process(convert_struck, source, output, at) == -signal.SIGKILL
        left = trees.digest(output)
        assert all(left[name] == expected[name] for name in left.keys() & expected.keys()), f"a half file at {at}"
        assert at == points or "dataset.json" not in left
        assert in_process(convert_struck, source, output) == 0
        assert trees.digest(output) == expected, f"other bytes after a kill at {at}"


def convert_until(source: Path, output: Path, cases: int, alive: Any) -> None:
    """Convert with two workers and be killed once ``cases`` are recorded; ``alive`` is open in all of them."""
    add = Journal.add

    def add_and_die(journal: Journal, *record: object) -> None:
        add(journal, *record)  # type: ignore[arg-type]
        if len(journal.items) == cases:
            os.kill(os.getpid(), signal.SIGKILL)

    multiprocessing.set_start_method("fork", force=True)  # workers inherit ``alive``
    os.setsid()
    with mock.patch.object(Journal, "add", add_and_die):
        trees.run("decathlon", source, output, "--workers", 2)


def test_killed_with_workers_they_die_too_and_nothing_is_done_twice(source, output, tmp_path):
    trees.convert("decathlon", source, tmp_path / "whole")
    reader, writer = processes.Pipe(duplex=False)
    process = processes.Process(target=convert_until, args=(source, output, 2, writer))
    process.start()
    writer.close()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    if not (ended := reader.poll(60)):  # the end of the file, once nobody holds the other end
        os.killpg(process.pid, signal.SIGKILL)
    assert ended, "a worker outlived its parent"
    done = [json.loads(line)["item"]["image"] for line in (output / Journal.name).read_text().splitlines()[1:]]
    before = {name: (output / name).stat().st_mtime_ns for name in done}
    trees.convert("decathlon", source, output)
    assert trees.digest(output) == trees.digest(tmp_path / "whole")
    assert len(done) == 2 and before == {name: (output / name).stat().st_mtime_ns for name in done}


def test_a_finished_study_is_left_alone_and_another_one_is_refused(source, output, capsys):
    trees.convert("decathlon", source, output)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    trees.convert("decathlon", source, output)
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert trees.run("decathlon", source, output, "--seed", 1) == 1
    assert "--force" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert len(trees.convert("decathlon", source, output, "--seed", 1, "--force")["training"]) == 3


@pytest.mark.slow
def test_the_printed_command_trains(source, output):
    """As a shell reads it, with fewer and smaller steps."""
    trees.convert("decathlon", source, output)
    tiny = "--epochs 1 --val_interval 1 --batch_size 2 --samples_per_volume 1 --channels '[2,4]' --patch_size '[8,8,8]'"
    run = output.parent / "run"
    python, m, *words = shlex.split(f"{training_command(output / 'dataset.json')} {tiny} --output_dir {run}")
    assert (python, m) == ("python", "-m")
    ended = Typed(words)
    _, errors = ended.communicate()
    assert ended.returncode == 0, errors[-2000:]
    assert (run / "model.pt").exists()


def remove_items(source, output):
    trees.decathlon(source, training=[], numTraining=0)


def name_twice(source, output):
    item = {"image": "imagesTr/case_00.nii.gz", "label": "labelsTr/case_00.nii.gz"}
    trees.decathlon(source, training=[item, item], numTraining=2)


def lose_image(source, output):
    (source / "imagesTr/case_02.nii.gz").unlink()


def swap_axes(source, output):
    trees.save(source / "labelsTr/case_01.nii.gz", trees.dense(3).transpose(2, 1, 0))


def shift_affine(source, output):
    trees.save(source / "labelsTr/case_01.nii.gz", trees.dense(3), trees.AFFINE + np.eye(4)[:, [3, 0, 1, 2]])


def add_time(source, output):
    trees.save(source / "imagesTr/case_01.nii.gz", trees.image(shape=(*trees.SHAPE, 2)))


def add_class(source, output):
    trees.save(source / "labelsTr/case_03.nii.gz", trees.dense(4))


def cut_short(source, output):
    file = source / "imagesTr/case_01.nii.gz"
    file.write_bytes(file.read_bytes()[:150])


def write_text(source, output):
    (source / "labelsTr/case_01.nii.gz").write_text("not found")


def link_outside(source, output):
    file = source / "imagesTr/case_01.nii.gz"
    file.symlink_to(shutil.move(file, source.parent / "secret.nii.gz"))


def fill_output(source, output):
    output.mkdir()
    (output / "thesis.txt").write_text("mine")


def folder_for_file(source, output):
    (source / "labelsTr/case_01.nii.gz").unlink()
    (source / "labelsTr/case_01.nii.gz").mkdir()


def other_slashes(source, output):
    item = {"image": r"imagesTr\case_00.nii.gz", "label": r"labelsTr\case_00.nii.gz"}
    trees.decathlon(source, training=[item], numTraining=1)


def output_file(source, output):
    output.write_text("mine")


@pytest.mark.parametrize(
    "break_it, message",
    [
        (remove_items, "at least one case"),
        (name_twice, "one case of a name, got 2 named case_00"),
        (lose_image, "existing file, got .*imagesTr/case_02"),
        (swap_axes, r"shape \(6, 5, 4\) of the image, got \(4, 5, 6\) in .*labelsTr/case_01.*axes in another order"),
        (shift_affine, "affine of the image, got one that moves voxels by .* in .*labelsTr/case_01"),
        (add_time, r"a volume, got shape \(6, 5, 4, 2\) in .*imagesTr/case_01"),
        (add_class, r"got 3 \(30 voxels\) in .*labelsTr/case_03"),
        (cut_short, "case_01: .*imagesTr/case_01"),
        (write_text, "case_01: .*labelsTr/case_01"),
        (link_outside, "in the folder of the source .or --allow-outside., got .*case_01.nii.gz: it is .*secret.nii.gz"),
        (folder_for_file, "existing file, got .*case_01.nii.gz: a folder"),
        (other_slashes, r"existing file, got .*imagesTr\\case_00.nii.gz \(folders are divided by /"),
        (fill_output, "absent, empty or unfinished output"),
        (output_file, "output"),
    ],
)
def test_bad_input_is_named_and_no_data_list_appears(source, output, capsys, break_it, message):
    break_it(source, output)
    before = trees.digest(source)
    assert trees.run("decathlon", source, output) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(message, error), error
    assert not (output / "dataset.json").exists()
    assert trees.digest(source) == before


def test_links_that_leave_the_source_may_be_allowed(source, output):
    """As git-annex and DVC make them; what is made of it stands on its own."""
    link_outside(source, output)
    trees.convert("decathlon", source, output, "--allow-outside")
    copied = output / "images/case_01.nii.gz"
    assert not copied.is_symlink() and copied.read_bytes() == (source.parent / "secret.nii.gz").read_bytes()


def test_every_command_that_makes_a_study_takes_links(capsys):
    for name, (module, _) in COMMANDS.items():
        options = {field.name for field in dataclasses.fields(importlib.import_module(module).Options)}
        assert "allow_outside" in options or name in ("phantom", "scenes", "strokes", "tags")  # copy nothing


def test_all_bad_cases_are_named_and_the_good_ones_kept(source, output, capsys):
    swap_axes(source, output)
    add_class(source, output)
    assert trees.run("decathlon", source, output) == 1
    error = capsys.readouterr().err
    assert "2 problems" in error and "case_01: " in error and "case_03: " in error
    trees.save(source / "labelsTr/case_01.nii.gz", trees.dense(3))
    trees.save(source / "labelsTr/case_03.nii.gz", trees.dense(3))
    assert {path.name for path in (output / "labels").iterdir()} == {"case_00.nii.gz", "case_02.nii.gz"}


@pytest.mark.parametrize("where", [".", "inside", ".."])
def test_source_and_output_stay_apart(source, capsys, where):
    before = trees.digest(source)
    assert trees.run("decathlon", source, source / where) == 1
    assert "apart" in capsys.readouterr().err
    assert trees.digest(source) == before


def test_a_disk_without_room_is_refused_before_and_told_during(source, output, capsys):
    with mock.patch("shutil.disk_usage", return_value=Usage(10**9, 10**9, 100)):
        assert trees.run("decathlon", source, output) == 1
    assert "expected room for" in capsys.readouterr().err

    written, fsync = 0, os.fsync

    def full(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with mock.patch("os.fsync", full):
        assert trees.run("decathlon", source, output) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error and str(output) in error
    assert not list(output.rglob("*.tmp")) and not (output / "dataset.json").exists()
    trees.convert("decathlon", source, output)  # with room again
    trees.convert("decathlon", source, output.parent / "whole")
    assert trees.digest(output) == trees.digest(output.parent / "whole")


def test_a_read_only_output_is_told(source, output, capsys):
    denied = PermissionError(errno.EROFS, os.strerror(errno.EROFS), str(output))
    with mock.patch("pathlib.Path.mkdir", side_effect=denied):  # permissions do not bind root
        assert trees.run("decathlon", source, output) == 1
    error = capsys.readouterr().err
    assert "Read-only file system" in error and str(output) in error


@pytest.mark.parametrize(
    "image, channels, bundle",
    [
        ("a.tif", 1, "scribble"),
        ("a.tif", 3, "scribble_2d"),
        ("a.tif", 12, "remote_sensing"),
        ("a.nii.gz", 2, "scribble"),
        (["a.png", "b.png"], 2, "scribble"),
    ],
)
def test_pictures_are_trained_by_the_bundle_that_reads_their_bands(tmp_path, image, channels, bundle):
    study = {"spatial_dims": 2, "in_channels": channels, "num_classes": 2, "ignore_values": [255], "void_values": [254]}
    study |= {"training": [{"image": image, "scribble": "s.png"}], "validation": [], "test": []}
    (tmp_path / "dataset.json").write_text(json.dumps(study))
    assert f"bundles/{bundle}/train.json" in training_command(tmp_path / "dataset.json")
