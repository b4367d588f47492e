# SPDX-License-Identifier: Apache-2.0
"""A run as a bundle: MONAI's own doors open it, and what comes out is what the run predicts."""

from __future__ import annotations

import hashlib
import json
import sys

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle.utils import load_bundle_config
from monai.networks.nets import UNet

from medwsss.__main__ import main
from medwsss.bundle import packing
from tests.bundles.runs import write_run

pytest.importorskip("safetensors")

THICK_FIRST = np.diag([5.0, 1, 1, 1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network on slices, and two volumes beside it; the axis across slices is the first."""
    folder, rng = tmp_path_factory.mktemp("packing"), np.random.default_rng(0)
    (folder / "images").mkdir()
    for k in range(2):
        array = rng.normal(size=(3, 20, 24)).astype(np.float32)
        nib.save(nib.Nifti1Image(array, THICK_FIRST), folder / "images" / f"case_{k}.nii.gz")
    return write_run(folder / "run", patch_size=[16, 16], class_names=["background", "RV", "myo", "LV"])


@pytest.fixture(scope="module")
def bundle(run):
    """Of it, by the command."""
    assert main(["export", str(run), "--format", "bundle", "--output", str(run.parent / "heart")]) == 0
    return run.parent / "heart"


def test_monai_s_run_predicts_what_the_run_does(run, bundle, tmp_path):
    monai.bundle.run(
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        dataset_dir=str(run.parent / "images"),
        output_dir=str(tmp_path / "theirs"),
        device="$torch.device('cpu')",
        amp=False,
    )
    before = sys.argv
    assert main(["infer", str(run), str(run.parent / "images"), "--output_dir", str(tmp_path / "ours")]) == 0
    assert sys.argv is before
    for k in range(2):
        theirs, ours = (nib.load(tmp_path / name / f"case_{k}_pred.nii.gz") for name in ("theirs", "ours"))
        assert np.array_equal(theirs.dataobj, ours.dataobj) and np.array_equal(theirs.affine, ours.affine)
        assert len(np.unique(ours.dataobj)) > 1


def test_load_builds_the_network_and_its_script(run, bundle):
    network = monai.bundle.load(
        "heart", bundle_dir=str(bundle.parent), workflow_type="inference", source="monaihosting"
    )
    assert isinstance(network, UNet)
    state = torch.load(run / "model.pt", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    scripted = torch.jit.load(bundle / "models" / "model.ts")
    image = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(scripted(image), network.eval()(image), atol=1e-4, rtol=0)


def test_monai_label_predicts_what_the_run_does(run, bundle, tmp_path):
    label = pytest.importorskip("monailabel.tasks.infer.bundle", reason="needs monailabel", exc_type=ImportError)
    task = label.BundleInferTask(str(bundle), {"preload": "false"}, type="segmentation")
    assert task.is_valid() and task.labels == {"rv": 1, "myo": 2, "lv": 3}
    image = run.parent / "images" / "case_0.nii.gz"
    theirs, _ = task({"image": str(image), "device": "cpu", "result_extension": ".nii.gz", "result_dtype": "uint8"})
    assert main(["infer", str(run), str(run.parent / "images"), "--output_dir", str(tmp_path)]) == 0
    theirs, ours = nib.load(theirs), nib.load(tmp_path / "case_0_pred.nii.gz")
    assert np.array_equal(theirs.dataobj, ours.dataobj) and np.allclose(theirs.affine, ours.affine)


def test_what_label_and_deploy_take_of_it(bundle):
    """They parse the configuration at the folder, drop what loads and saves, and name classes by the metadata."""
    config = load_bundle_config(str(bundle), "inference.json")
    names = {key: [type(t).__name__ for t in config.get_parsed_content(key).transforms] for key in packing.COMPOSED}
    assert names["preprocessing"][:2] == ["LoadImaged", "EnsureChannelFirstd"]
    assert names["postprocessing"][-1] == "SaveImaged"
    assert config.get_parsed_content("inferer") and config.get_parsed_content("network_def")
    pred = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
    assert pred["channel_def"] == {"0": "background", "1": "RV", "2": "myo", "3": "LV"}


def test_sums_card_and_safetensors(run, bundle):
    from safetensors.torch import load_file

    listed = dict(reversed(line.split("  ")) for line in (bundle / "SHA256SUMS").read_text().splitlines())
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(listed) == files - {"SHA256SUMS"}
    assert all(hashlib.sha256((bundle / name).read_bytes()).hexdigest() == value for name, value in listed.items())
    state = torch.load(run / "model.pt", weights_only=True)
    tensors = load_file(bundle / "models" / "model.safetensors")
    assert tensors.keys() == state.keys() and all(torch.equal(tensors[name], state[name]) for name in state)
    card = (bundle / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: monai\n") and "| 2 | myo |" in card
    assert str(run) not in "".join(path.read_text() for path in (bundle / "configs").iterdir())


def test_a_folder_in_use_another_bundle_and_no_safetensors(run, bundle, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="absent or empty"):
        packing.pack_run(run, bundle)
    monkeypatch.setattr(packing, "has_safetensors", False)
    with pytest.raises(ImportError, match=r"medwsss\[weights\]"):
        packing.pack_run(run)
    content = json.loads((run / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**content, "bundle": "remote_sensing"}))
    with pytest.raises(ValueError, match="run of the bundle scribble, got one of remote_sensing"):
        packing.pack_run(tmp_path)
