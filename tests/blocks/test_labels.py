# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels in blocks are those of the whole, bit for bit, and whole or not there after whatever happens."""

from __future__ import annotations

import json
import os
import signal
from copy import copy

import nibabel as nib
import numpy as np
import pytest
import torch

from medwsss.__main__ import main
from medwsss.blocks import jobs, read_plan
from medwsss.keys import UNLABELED
from medwsss.solvers import NaturalGradient
from medwsss.solvers.cells import interpolated
from medwsss.solvers.strided import as_cells
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from tests.blocks.studies import picture, scene, strokes, volume, write_list
from tests.rasters.scenes import rasterio, write_scene

zarr = pytest.importorskip("zarr")

FEW = ["--start", "levels", "--steps", "3", "--coarse-steps", "2"]  # so that a small image has voxels that have no say


def blocks(datalist, output, *more):
    return main(["blocks", "labels", str(datalist), "--output", str(output), *FEW, *map(str, more)])


def whole(image, scribble, bandwidth, levels, connectivity, spacing=None, prior=None):
    """Of one solve, with intensities that go from 0 at the 2nd percentile to 1 at the 98th."""
    guide, solver = prepared(image, scribble, bandwidth, levels, connectivity, spacing)
    logits = torch.zeros(1, 3, *scribble.shape)
    if prior is not None:
        logits += (
            (torch.from_numpy(prior) / torch.from_numpy(prior[0] + prior[1] + prior[2])).clamp_min(np.exp(-20)).log()
        )
    return solver(logits, guide, torch.from_numpy(scribble)[None, None]).labels[0].numpy()


def prepared(image, scribble, bandwidth, levels, connectivity, spacing):
    """Guide and solver."""
    low, high = np.percentile(image.astype(np.float64), (2, 98), axis=tuple(range(1, image.ndim)), keepdims=True)
    guide = np.clip((image - low.astype(np.float32)) / (high - low).astype(np.float32), -1, 2)[None]
    neighborhood = GridNeighborhood(connectivity, bandwidth, spacing)
    energy = SelfLabelingEnergy("collision_cross_entropy", "log_quadratic", neighborhood, eta=0.005, lam=6.0)
    solver = NaturalGradient(energy, 3, 0, stride=1.0, levels=levels, coarse_steps=2, safeguard=False)
    return torch.from_numpy(guide), solver


def study(kind, folder):
    """A data list of one case, its arrays, and what else the solve of the whole needs."""
    if kind == "scene":
        image, scribble = picture((40, 43), 2), strokes((40, 43))
        return scene(folder), image, scribble, {"connectivity": 2}
    shape = (16, 15, 14)
    image, scribble = picture(shape), strokes(shape)
    if kind == "volume":
        return volume(folder, shape, (1, 1, 2.5)), image, scribble, {"connectivity": 1, "spacing": (1, 1, 2.5)}
    prior = np.random.default_rng(1).dirichlet([1, 1, 1], shape).astype(np.float32)
    np.save(folder / "a.npy", image[0])
    np.save(folder / "s.npy", scribble)
    for k in range(3):
        np.save(folder / f"p{k}.npy", prior[..., k])
    item = {"image": "a.npy", "scribble": "s.npy", "prior": ["p0.npy", "p1.npy", "p2.npy"]}
    return write_list(folder, item), image, scribble, {"connectivity": 1, "prior": np.moveaxis(prior, -1, 0)}


@pytest.mark.parametrize(("kind", "core", "levels"), [("scene", 12, 1), ("volume", 6, 0), ("prior", 6, 1)])
def test_blocks_have_the_labels_of_the_whole(tmp_path, kind, core, levels):
    datalist, image, scribble, how = study(kind, tmp_path)
    more = ["--core", core, "--levels", levels] + ["--prior-weight", 1] * (kind == "prior")
    assert blocks(datalist, tmp_path / "out", *more) == 0
    (case,) = read_plan(tmp_path / "out").cases
    assert len(case.blocks) > 8 and any(window.seen != window.core for window in case.blocks)
    if levels == 0:
        assert case.halo == [3, 3, 3]
    elif kind == "scene":
        assert case.halo == [10, 10]  # 3 steps, 2 (2 + 1) voxels of cells: 9, in cells of 2
    expected = whole(image, scribble, case.figures["bandwidth"], levels, **how).astype(np.float16)
    found = zarr.open_array(tmp_path / "out" / "a.zarr")[:]
    assert np.array_equal(found, expected)
    assert case.figures["seeds"] == [int((scribble == k).sum()) for k in range(3)]


@pytest.mark.parametrize(("kind", "core"), [("scene", 12), ("volume", 8)])
def test_from_coarse_labels_of_the_whole(tmp_path, kind, core):
    """Blocks of any size have the same labels, those of a solve that starts from the same ones; strokes reach all."""
    datalist, image, scribble, how = study(kind, tmp_path)
    for side in (core, 64):
        words = ["blocks", "labels", str(datalist), "--output", str(tmp_path / str(side))]
        assert main([*words, "--core", str(side), "--steps", "3"]) == 0
    found, one = (zarr.open_array(tmp_path / str(side) / "a.zarr")[:] for side in (core, 64))
    assert np.array_equal(found, one)
    (case,) = read_plan(tmp_path / str(core)).cases
    assert len(case.blocks) >= 8 and set(case.halo) == {4}  # 3 steps, in cells of 4
    guide, solver = prepared(image, scribble, case.figures["bandwidth"], 0, how["connectivity"], how.get("spacing"))
    size = [4] * scribble.ndim
    start = torch.from_numpy(zarr.open_array(tmp_path / str(core) / "a_start.zarr")[:])[None]
    cells = as_cells(torch.zeros(1, 3, *scribble.shape), guide, torch.from_numpy(scribble)[None, None], size)
    energy = copy(solver.energy)
    energy.lam /= 4
    torch.testing.assert_close(start, NaturalGradient(energy)(*cells).labels, rtol=1e-3, atol=1e-4)
    for _ in range(2):
        start = interpolated(start, [2] * scribble.ndim, [2 * n for n in start.shape[2:]])
    start = start[(..., *(slice(n) for n in scribble.shape))]
    labels = solver(torch.zeros(1, 3, *scribble.shape), guide, torch.from_numpy(scribble)[None, None], start).labels[0]
    np.testing.assert_allclose(found.astype(np.float32), labels.numpy(), atol=2e-3)
    assert (found.max(0) > 1 / 3 + 1e-3).all()


def test_with_less_around_them_they_have_not(tmp_path, caplog):
    """Which is told."""
    datalist, image, scribble, how = study("scene", tmp_path)
    with caplog.at_level("WARNING"):
        blocks(datalist, tmp_path / "out", "--core", 20, "--levels", 1, "--halo", 4)
    assert "With a halo of [4, 4] and not [9, 9]" in caplog.text
    (case,) = read_plan(tmp_path / "out").cases
    expected = whole(image, scribble, case.figures["bandwidth"], 1, **how).astype(np.float16)
    assert not np.array_equal(zarr.open_array(tmp_path / "out" / "a.zarr")[:], expected)


@pytest.mark.parametrize("core", [5, 16])
def test_the_bandwidth_is_the_whole_images(tmp_path, core):
    """``β`` is half the median of what neighbours differ by, whatever the blocks."""
    datalist = volume(tmp_path)
    blocks(datalist, tmp_path / "out", "--core", core, "--levels", 0, "--plan-only")
    image = picture((16, 15, 14))[0].astype(np.float64)
    low, high = np.percentile(image, (2, 98))
    guide = np.clip((image - low) / (high - low), -1, 2)
    steps = np.concatenate([np.abs(np.diff(guide, axis=axis)).ravel() for axis in range(3)])
    (case,) = read_plan(tmp_path / "out").cases
    assert case.figures["bandwidth"] == pytest.approx(np.median(steps) / 2, rel=1e-3)


def test_a_map_in_the_place_of_the_image(tmp_path):
    datalist, image, scribble, _ = study("scene", tmp_path)
    assert blocks(datalist, tmp_path / "out", "--core", 16, "--levels", 1) == 0
    y = zarr.open_array(tmp_path / "out" / "a.zarr")[:].astype(np.float32)
    with rasterio.open(tmp_path / "out" / "a_labels.tif") as found, rasterio.open(tmp_path / "a.tif") as source:
        labels = found.read(1)
        assert (found.crs, found.transform, found.nodata) == (source.crs, source.transform, UNLABELED)
    seeds = scribble != UNLABELED
    assert (labels[seeds] == scribble[seeds]).all()
    assert (labels == np.where(y.max(0) > 1 / 3 + 1e-3, y.argmax(0), UNLABELED)).all()
    assert (labels == UNLABELED).any()  # three steps lead nowhere far from strokes


def test_nodata_is_void(tmp_path):
    image, scribble = picture((20, 20)), strokes((20, 20))
    image[:, :, :9] = -9999
    write_scene(tmp_path / "a.tif", image, nodata=-9999)
    write_scene(tmp_path / "s.tif", scribble[None], nodata=UNLABELED)
    blocks(write_list(tmp_path, {"image": "a.tif", "scribble": "s.tif"}), tmp_path / "out", "--core", 8)
    y = zarr.open_array(tmp_path / "out" / "a.zarr")[:]
    assert (y[:, :, :9] == np.float16(1 / 3)).all() and (y[:, :, 9:] != np.float16(1 / 3)).any(0).all()
    (case,) = read_plan(tmp_path / "out").cases
    assert case.figures["seeds"] == [int((scribble[:, 9:] == k).sum()) for k in range(3)]


def test_parts_and_a_stop_make_the_same_file(tmp_path, capsys):
    datalist = volume(tmp_path)
    how = ["--core", 8, "--levels", 0]
    assert blocks(datalist, tmp_path / "out", *how, "--num-parts", 2) == 1  # no plan
    assert "--plan-only first" in capsys.readouterr().err
    assert blocks(datalist, tmp_path / "out", *how, "--plan-only") == 0
    assert blocks(datalist, tmp_path / "out", *how, "--num-parts", 3, "--part-id", 1) == 0
    assert "a: 3 of 8 blocks of [8, 8, 8]" in capsys.readouterr().out
    marks = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "done" / "a").iterdir()}
    assert sorted(path.name for path in marks) == ["1.json", "4.json", "7.json"]
    assert blocks(datalist, tmp_path / "out", *how) == 0
    assert {path: path.stat().st_mtime_ns for path in marks} == marks  # nothing is done twice
    assert blocks(datalist, tmp_path / "once", *how) == 0
    for name in ("a_labels.nii.gz", "a.zarr/c/0/1/1/1"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    assert nib.load(tmp_path / "out" / "a_labels.nii.gz").shape == (16, 15, 14)
    assert main(["blocks", "status", str(tmp_path / "out")]) == 0
    assert "8 of 8 blocks" in capsys.readouterr().out


@pytest.mark.parametrize("harm", ["cut", "lost", "changed"])
def test_a_damaged_chunk_is_done_anew(tmp_path, harm):
    datalist, out = volume(tmp_path), tmp_path / "out"
    blocks(datalist, out, "--core", 8, "--levels", 0)
    chunk, good = out / "a.zarr/c/0/0/1/0", (out / "a.zarr/c/0/0/1/0").read_bytes()
    before = (out / "done/a/0.json").stat().st_mtime_ns
    if harm == "lost":
        chunk.unlink()
    else:
        chunk.write_bytes(good[:-9] if harm == "cut" else (out / "a.zarr/c/0/0/0/0").read_bytes())
    (out / "a.zarr" / "c" / "0.0123.partial").write_bytes(b"")
    assert blocks(datalist, out, "--core", 8, "--levels", 0) == 0
    assert chunk.read_bytes() == good and (out / "done/a/0.json").stat().st_mtime_ns == before
    assert not list(out.rglob("*.partial"))


def test_a_killed_process_is_replaced(tmp_path, monkeypatch):
    datalist, out = volume(tmp_path), tmp_path / "out"
    compute, dtype = jobs.TASKS["labels"]

    def deadly(case, window):
        try:
            (tmp_path / f"{window.core[0][0]}").touch(exist_ok=False)
        except FileExistsError:
            return compute(case, window)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setitem(jobs.TASKS, "labels", (deadly, dtype))
    assert blocks(datalist, out, "--core", 8, "--levels", 0, "--workers", 2) == 0
    monkeypatch.setitem(jobs.TASKS, "labels", (compute, dtype))
    blocks(datalist, tmp_path / "once", "--core", 8, "--levels", 0)
    assert np.array_equal(zarr.open_array(out / "a.zarr")[:], zarr.open_array(tmp_path / "once" / "a.zarr")[:])


def test_processes_that_die_for_ever_are_told_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(jobs.TASKS, "labels", (lambda *_: os.kill(os.getpid(), signal.SIGKILL), "float16"))
    with pytest.raises(RuntimeError, match="fewer workers, or a smaller core"):
        blocks(volume(tmp_path), tmp_path / "out", "--core", 8, "--levels", 0, "--workers", 2)


def test_errors_come_before_work_starts(tmp_path, capsys):
    datalist = volume(tmp_path)

    def refused(text, *more):
        assert blocks(datalist, tmp_path / "out", *more) == 1
        assert text in capsys.readouterr().err
        assert not (tmp_path / "out" / "plan.json").exists()

    refused("expected eta >= 0", "--eta", -1)
    refused("expected start in", "--start", "coarse", "--levels", 2)
    refused("of bilinear, which would be stuck", "--start", "coarse", "--relaxation", "bilinear")
    refused("a core of at least 1 voxel", "--core", 0)
    refused("--part-id from 0 and below", "--part-id", 3)
    scribble = strokes((16, 15, 14))
    scribble[3, 3, 3] = 9
    nib.save(nib.Nifti1Image(scribble, np.eye(4)), tmp_path / "a_scribble.nii.gz")
    refused("got 9 (1 voxels) in " + str(tmp_path / "a_scribble.nii.gz"))
    nib.save(nib.Nifti1Image(scribble[1:], np.eye(4)), tmp_path / "a_scribble.nii.gz")
    refused("expected the shape (16, 15, 14) of the image, got (15, 15, 14)")
    nib.save(nib.Nifti1Image(scribble * 0 + UNLABELED, np.eye(4)), tmp_path / "a_scribble.nii.gz")
    refused("expected seeds of some class")
    image = picture((16, 15, 14))[0]
    image[2, 2, 2] = np.nan
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "a.nii.gz")
    refused("1 NaN or infinite voxels in " + str(tmp_path / "a.nii.gz"))


def test_another_plan_in_the_folder_is_not_mixed_in(tmp_path, capsys):
    datalist, out = volume(tmp_path), tmp_path / "out"
    blocks(datalist, out, "--core", 8, "--levels", 0)
    assert blocks(datalist, out, "--core", 8, "--levels", 0, "--eta", 0.1) == 1
    assert "expected eta 0.005, as in" in capsys.readouterr().err
    content = json.loads((out / "plan.json").read_text())
    content["cases"][0]["figures"]["bandwidth"] = 3.0
    (out / "plan.json").write_text(json.dumps(content))
    assert blocks(datalist, out, "--core", 8, "--levels", 0) == 1
    assert "got another's in" in capsys.readouterr().err
    (out / "plan.json").write_text("{}")
    assert main(["blocks", "status", str(out)]) == 1
    assert "expected a plan of blocks" in capsys.readouterr().err


def test_a_scribble_without_a_unit(tmp_path):
    """Beside an image in mm: nothing contradicts."""
    datalist = volume(tmp_path)
    image = nib.load(tmp_path / "a.nii.gz")
    image.header.set_xyzt_units("mm")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), tmp_path / "b.nii.gz")
    (tmp_path / "b.nii.gz").replace(tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").header.get_xyzt_units()[0] == "mm"
    assert blocks(datalist, tmp_path / "out", "--core", 16) == 0
