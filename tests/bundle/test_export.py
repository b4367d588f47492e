# SPDX-License-Identifier: Apache-2.0
"""An exported network is the network, at any size, or it is not written."""

from __future__ import annotations

import json

import pytest
import torch
from monai.bundle import ConfigParser

from medwsss.__main__ import main
from medwsss.bundle import export
from medwsss.bundle.export import export_run
from tests.bundles.runs import write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", "batch", patch_size=[16, 16])  # norms that training changes


def logits(run, image):
    settings = json.loads((run / "settings.json").read_text())["settings"]
    network = ConfigParser(settings).get_parsed_content("network_def")
    network.load_state_dict(torch.load(run / "model.pt", weights_only=True))
    with torch.no_grad():
        return network.eval()(image)


def test_another_size_by_the_formats_own_libraries(run, tmp_path, capsys):
    image = torch.rand(3, 1, 24, 40)
    expected = logits(run, image)
    assert main(["export", str(run)]) == 0 and capsys.readouterr().out.strip() == str(run / "model.ts")
    extra = {"metadata.json": ""}
    scripted = torch.jit.load(run / "model.ts", _extra_files=extra)
    torch.testing.assert_close(scripted(image), expected, atol=1e-4, rtol=0)
    assert json.loads(extra["metadata.json"])["num_classes"] == 4  # as MONAI's load_net_with_metadata finds it

    onnxruntime = pytest.importorskip("onnxruntime")
    assert main(["export", str(run), "--format", "onnx", "--output", str(tmp_path / "x.onnx")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    got = session.run(["logits"], {"image": image.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(got), expected, atol=1e-4, rtol=0)


def test_one_that_says_something_else_is_not_kept(run, monkeypatch):
    suffix, write, execute, needed = export.FORMATS["torchscript"]
    monkeypatch.setitem(export.FORMATS, "torchscript", (suffix, write, lambda d, x: execute(d, x) + 1e-3, needed))
    with pytest.raises(ValueError, match="expected the output of .*model.pt, got torchscript that is 0.001 off"):
        export_run(run)
    assert not (run / "model.ts").exists()


def test_what_is_not_installed_comes_with_the_command(run, monkeypatch):
    monkeypatch.setattr(export, "optional_import", lambda name: (None, name != "onnxruntime"))
    with pytest.raises(ImportError, match=r"expected onnxruntime for onnx: pip install onnxruntime"):
        export_run(run, "onnx")


def test_another_format_and_settings_without_a_network(run):
    with pytest.raises(ValueError, match="expected a format of torchscript, onnx, deepness, got tflite"):
        export_run(run, "tflite")
    content = json.loads((run / "settings.json").read_text())
    del content["settings"]["network_def"]
    (run / "settings.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="expected network_def in .*settings.json"):
        export_run(run)


STATISTICS = {"names": ["grey"], "low": [51.0], "high": [153.0], "valid": [1.0], "mean": [0.4], "components": [[1.0]]}
NAMES = ["soil", "water", "road", "tree"]


def change(run, **settings):
    content = json.loads((run / "settings.json").read_text())
    content["settings"] |= settings
    (run / "settings.json").write_text(json.dumps(content))


def test_deepness_feeds_bytes_and_reads_its_keys(run):
    """Bytes over 255, as the plugin divides them: 51 is 0.2 and stands for 0, 153 for 1, 255 for 2, where it is cut."""
    onnxruntime = pytest.importorskip("onnxruntime")
    change(run, statistics=STATISTICS, class_names=NAMES)
    assert main(["export", str(run), "--format", "deepness", "--resolution", "30"]) == 0
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    levels = torch.randint(0, 256, (2, 1, 24, 40), generator=torch.manual_seed(0))
    got = session.run(None, {"image": (levels / 255).float().numpy()})[0]
    expected = logits(run, ((levels - 51) / 102).float()).softmax(1)
    torch.testing.assert_close(torch.from_numpy(got), expected, atol=1e-4, rtol=0)
    told = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert (
        told["class_names"] == {"0": "soil", "1": "water", "2": "road", "3": "tree"}
        and told["model_type"] == "Segmentor"
    )
    assert told["resolution"] == 30 and told["tile_size"] == told["tiles_size"] == 512 and told["seg_thresh"] == 0
    assert 0 < told["tiles_overlap"] <= 50
    assert isinstance(session.get_inputs()[0].shape[-3], int) and isinstance(session.get_outputs()[0].shape[-3], int)


def test_deepness_is_for_scenes_in_bytes(run):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="expected a run of bundles/remote_sensing"):
        export_run(run, "deepness")
    change(run, statistics={**STATISTICS, "high": [9000.0]})
    with pytest.raises(ValueError, match="expected bands from 0 to 255"):
        export_run(run, "deepness")
    with pytest.raises(ValueError, match="expected a resolution above 0"):
        export_run(run, "onnx", resolution=30)
