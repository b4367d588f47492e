# SPDX-License-Identifier: Apache-2.0
"""Inference and export on files that people have: in the place of the image, one bad file among good ones."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from medwsss.bundle.command_line import cause_of
from medwsss.bundle.export import export_run
from tests.bundles.bundle import execute, workflow
from tests.bundles.runs import write_run

ACDC = "acdc_mini/imagesTr/patient034_frame01.nii.gz"


def infer(run: Path, source: Path, output: Path, **options) -> None:
    options = {"device": "cpu", "amp": False, "uncertainty": True, **options}
    execute(
        workflow("inference", kind="infer", run_dir=str(run), source=str(source), output_dir=str(output), **options)
    )


def failures(run, source, output):
    with pytest.raises(RuntimeError) as error:
        infer(run, source, output)
    return str(cause_of(error.value))


def labels(path):
    return np.asarray(nib.load(path).dataobj)


def test_odd_volumes(shared_data, tmp_path):
    source, out = shared_data / "odd_files" / "nifti", tmp_path / "out"
    told = failures(write_run(tmp_path / "run"), source, out)
    assert told.startswith("8 predicted, 3 failed: ") and told.count("got 2 in ") == 2 and "functional.nii" in told
    for path in out.glob("*_pred.nii.gz"):
        name = path.name.replace("_pred.nii.gz", "")
        image = nib.load(next(source.glob(f"{name}.nii*")))
        for result in (path, out / f"{name}_uncertainty.nii.gz"):
            got = nib.load(result)
            assert type(got) is type(image) and got.shape == image.shape[:3]
            np.testing.assert_array_equal(got.affine, image.affine)
        assert labels(path).max() < 4 and 0 <= labels(result).min() < labels(result).max() <= 1


def test_odd_rasters(shared_data, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    told = failures(write_run(tmp_path / "run"), shared_data / "odd_files" / "tiff", tmp_path / "out")
    assert told.startswith("3 predicted, 4 failed: ") and "damaged file" in told and "corrupt.tif" in told
    for path in (tmp_path / "out").iterdir():
        image = shared_data / "odd_files" / "tiff" / f"{path.stem.rpartition('_')[0]}.tif"
        with rasterio.open(path) as got, rasterio.open(image) as source:
            assert (got.shape, got.transform, got.crs) == (source.shape, source.transform, source.crs)


def test_either_orientation_of_a_volume(shared_data, tmp_path):
    """Whatever axis the file has its slices along and whichever way they run, with mirror images: the same place."""
    image, own = nib.load(shared_data / ACDC), tmp_path / "images"
    own.mkdir()
    for codes in ("LPS", "RAS", "SLP"):
        turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(codes)))
        nib.save(turned, own / f"{codes}.nii.gz")
    infer(write_run(tmp_path / "run"), own, tmp_path / "out", test_flip=True)
    plain = labels(tmp_path / "out" / "LPS_pred.nii.gz")
    assert plain.shape == image.shape and len(np.unique(plain)) > 1
    for codes, shape in (("RAS", image.shape), ("SLP", image.shape[2:] + image.shape[:2])):
        turned, result = nib.load(own / f"{codes}.nii.gz"), nib.load(tmp_path / "out" / f"{codes}_pred.nii.gz")
        assert result.shape == turned.shape == shape and result.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(result.affine, turned.affine)
        back = result.as_reoriented(ornt_transform(axcodes2ornt(codes), io_orientation(image.affine)))
        assert (np.asarray(back.dataobj) == plain).mean() > 0.9999


@pytest.mark.parametrize("dims", [2, 3])
def test_exports_say_what_the_network_says(shared_data, tmp_path, dims):
    """On a real volume, at another size than a patch's."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    run = write_run(tmp_path / "run", spatial_dims=dims, patch_size=[32, 32, 4][:dims])
    volume = torch.from_numpy(np.asarray(nib.load(shared_data / ACDC).dataobj, np.float32)) / 300
    image = volume[None, None] if dims == 3 else volume.permute(2, 0, 1)[:, None]
    scripted, onnx = torch.jit.load(export_run(run)).eval(), export_run(run, "onnx", tmp_path / "x.onnx")
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    flow = workflow("inference", kind="infer", run_dir=str(run))
    flow.initialize()
    network = flow.parser.get_parsed_content("model").eval()
    with torch.no_grad():
        expected = network(image.to(next(network.parameters()).device)).cpu()
        torch.testing.assert_close(scripted(image), expected, atol=1e-4, rtol=0)
    got = session.run(None, {"image": image.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(got), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.01 and expected.shape[2:] == image.shape[2:]
