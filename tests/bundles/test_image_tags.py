# SPDX-License-Identifier: Apache-2.0
"""From tags to a segmentation: the bundle's files, its overlays, and the way through all stages on a few scenes."""

from __future__ import annotations

import json

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.engines.utils import IterationEvents
from PIL import Image

from data_prep.__main__ import main
from medwsss import losses
from medwsss.bundle.command_line import cause_of
from medwsss.handlers import PseudoLabelHandler
from medwsss.keys import UNLABELED
from medwsss.study import tag_schema
from medwsss.terms.activation_maps import max_normalize
from tests.bundles import photographs
from tests.bundles.bundle import REPOSITORY, assert_all_is_there, execute
from tests.bundles.tags import BUNDLE, tagged, train, write_study
from tests.bundles.test_configs import SCHEMA

NAMES = sorted(path.stem for path in BUNDLE.glob("*.json"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("tags") / "scenes")


def weights(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_bundle_is_complete():
    expected = {"gap", "gmp", "lse", "rank", "isl", "isl_exact", "fsl", "isl_fsl", "multinomial", "seam", "paper"}
    expected |= {"train", "cam", "self_label", "evaluate", "multi_gpu_train", "metadata", "spatial_bce"}
    expected |= {"single_stage", "inference"}
    assert expected == set(NAMES)
    assert (BUNDLE / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    links = sorted((BUNDLE / "configs").iterdir())
    assert [link.name for link in links] == sorted([*(f"{name}.json" for name in NAMES), "logging.conf"])
    assert all(link.resolve() == (BUNDLE / link.name).resolve() for link in links)
    jsonschema.validate(json.loads((BUNDLE / "metadata.json").read_text()), SCHEMA)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"train", "metadata", "multi_gpu_train", "inference"}))
def test_overlays_are_short_and_name_what_there_is(name):
    text = (BUNDLE / f"{name}.json").read_text()
    assert len(text.splitlines()) <= 15
    if name in ("cam", "evaluate", "self_label", "single_stage"):
        return
    train = json.loads((BUNDLE / "train.json").read_text())
    assert set(json.loads(text)) <= set(train)


@pytest.mark.parametrize(
    "name, channels, weight, samples, pooling, fsl",
    [
        (None, 3, 0.2, 10, "average", False),
        ("gap", 3, 0, 10, "average", False),
        ("gmp", 3, 0, 10, "maximum", False),
        ("lse", 3, 0, 10, "log_sum_exp", False),
        ("rank", 3, 0, 10, "rank_weighted", False),
        ("isl_exact", 3, 0.2, None, "average", False),
        ("fsl", 3, 0, 10, "average", True),
        ("isl_fsl", 3, 0.2, 10, "average", True),
        ("multinomial", 4, 0.6, 10, "average", False),
        ("seam", 3, 0.2, 10, "average", False),
        ("paper", 3, 0.1, 10, "average", True),
    ],
)
def test_what_overlays_train(scenes, tmp_path, name, channels, weight, samples, pooling, fsl):
    parser = tagged(scenes, tmp_path, *[name] * bool(name)).parser
    parser.parse()
    loss, network = (parser.get_parsed_content(key) for key in ("loss", "network_def"))
    siamese = name in ("seam", "paper")
    assert isinstance(loss, losses.EquivariantLoss) is siamese
    parts = (loss.loss if siamese else loss).losses
    assert (parts["tags"].weight, parts["tags"].samples, parts["tags"].pooling) == (weight, samples, pooling)
    assert ("feature_similarity" in parts) is fsl
    out = network(torch.rand(2, 3, 32, 32))
    assert out.shape == (4 if siamese else 2, channels, 8, 8)
    target = {"tags": torch.tensor([[1.0, 0, 0]] * 2), "guide": torch.rand(2, 3, 32, 32)}
    assert loss(out, target).isfinite()
    if name == "paper":
        similarity = parts["feature_similarity"]
        assert (similarity.floor, similarity.background, parts["tags"].floor) == ("min_max", True, 1e-5)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"train", "metadata", "inference"}))
def test_what_it_shares_is_there(name):
    """Of the bundle's files, and of the second stage's over the bundle for photographs."""
    stage = photographs.config("train", "small") if name == "self_label" else [str(BUNDLE / "train.json")]
    assert_all_is_there([*stage, str(BUNDLE / f"{name}.json")])


@pytest.mark.slow
def test_from_tags_to_a_segmentation(scenes, tmp_path):
    """Train, write seeds, train on them: the second stage reads the seeds and priors of the first."""
    tags, seeds = tmp_path / "tags", tmp_path / "tags" / "seeds"
    flow = train(scenes, tags, "isl_fsl", "cam", foreground=0.5, low=0.2, walk_steps=2)
    report = json.loads((tags / "report.json").read_text())
    assert set(report["validation"]) == {"IoU", "contour F", "oracle IoU", "tag AUC", "activated"}
    assert list(report["validation"]["IoU"]) == ["background", "along", "across", "chequered", "mean"]
    content = json.loads((seeds / "dataset.json").read_text())
    assert len(content["training"]) == 12 and len(content["validation"]) == 3
    for item in content["training"]:
        assert len(item["prior"]) == 4 and all((seeds / name).is_file() for name in [item["scribble"], *item["prior"]])
    saved, maps = predicted(flow, scenes, tags)
    scores = F.interpolate(maps, (32, 32), mode="bilinear")
    cam = max_normalize(scores) * (scores.mean((2, 3), keepdim=True) > 0)
    np.testing.assert_array_equal(saved, torch.cat((torch.full_like(cam[:, :1], 0.25), cam), 1).argmax(1)[0])

    files = [*photographs.config("train", "small"), str(BUNDLE / "self_label.json")]
    where = {"dataset_dir": str(seeds), "output_dir": str(tmp_path / "out"), "patch_size": [32, 32], "num_classes": 4}
    flow = ConfigWorkflow(
        files,
        workflow_type="train",
        logging_file=False,
        run_id="run",
        **{**photographs.TINY, **where, "test_scales": [1.0]},
    )
    execute(flow)
    handler = flow.parser.get_parsed_content("pseudo_labels")
    assert isinstance(handler, PseudoLabelHandler) and handler.prior_weight == 1 and handler.active
    batch = next(iter(flow.parser.get_parsed_content("train#dataloader")))
    assert batch["prior"].shape == (2, 4, 32, 32) and "tags" not in batch
    assert (tmp_path / "out" / "model.pt").exists()


def test_seeds_of_a_segmentation_are_refused(scenes, tmp_path):
    with pytest.raises(RuntimeError) as told:
        tagged(scenes, tmp_path / "out", "single_stage", "cam", channels=[4, 8]).initialize()
    assert "got that of single_stage.json" in str(told.value.__cause__)
    assert not (tmp_path / "out").exists()


def test_one_stage_and_its_predictions(scenes, tmp_path):
    """Score maps train alone, give seeds, then pseudo-labels; files of inference are what the network says."""
    out, scribbles = tmp_path / "out", {}
    flow = tagged(scenes, out, "single_stage", epochs=3, val_interval=3, cam_epochs=1, channels=[4, 8])
    flow.initialize()
    trainer = flow.parser.get_parsed_content("train#trainer")

    def look(engine):
        targets = engine.state.output["label"]
        scribbles.setdefault(engine.state.epoch, []).append((targets["scribble"].unique().tolist(), {*targets}))

    trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, look)
    flow.run()
    flow.finalize()
    assert all(values == [UNLABELED] and "prior" not in keys for values, keys in scribbles[1])
    assert all("prior" in keys and "pseudo_label" not in keys for _, keys in scribbles[2])
    assert all("pseudo_label" in keys for _, keys in scribbles[3])
    assert set(json.loads((out / "report.json").read_text())["validation"]) == {"IoU", "contour F"}

    saved, logits = predicted(flow, scenes, out)
    np.testing.assert_array_equal(saved, logits.argmax(1)[0])


def predicted(flow, study, run):
    """Class numbers that inference wrote of the first validation image, and what the network says of it."""
    where = {"run_dir": str(run), "source": str(study / "dataset.json"), "section": "validation"}
    execute(ConfigWorkflow(str(BUNDLE / "inference.json"), workflow_type="infer", logging_file=False, **where))
    batch = next(iter(flow.parser.get_parsed_content("validate#dataloader")))
    with torch.no_grad():
        maps = flow.parser.get_parsed_content("network").eval()(batch["image"])
    return np.asarray(Image.open(run / "predictions" / "images" / "validation_0000_pred.png")).T, maps


@pytest.mark.slow
def test_slices_of_volumes(tmp_path):
    """Tags of slices train a network of slices; its seeds and predictions are volumes on the grid of their images."""
    rng, study = np.random.default_rng(0), tmp_path / "study"
    study.mkdir()
    items = []
    for index in range(4):
        mask = np.zeros((12, 16, 3), np.uint8)
        for number in range(3):
            mask[2:6, 3:9, number] = (index + number) % 3
        for kind, voxels in (("image", 30 * mask + rng.integers(0, 20, mask.shape)), ("label", mask)):
            nib.save(nib.Nifti1Image(voxels.astype(np.int16), np.diag([1, 1, 4, 1])), study / f"{kind}{index}.nii.gz")
        items.append({"image": f"image{index}.nii.gz", "label": f"label{index}.nii.gz"})
    content = {"labels": {"0": "background", "1": "low", "2": "high"}, "training": items[:3], "validation": items[3:]}
    (study / "masks.json").write_text(json.dumps(content))
    words = ["--masks", str(study / "masks.json"), "--output", str(study / "dataset.json"), "--slices", "2"]
    assert main(["tags", *words]) == 0
    grey = {"in_channels": 1, "intensity_range": [0, 80], "mean": [0.5], "std": [0.3], "patch_size": [12, 16]}
    flow = train(study, tmp_path / "out", "gap", "cam", epochs=1, foreground=0.1, **grey)
    assert len(flow.parser.get_parsed_content("train_items")) == 9
    seeds = json.loads((tmp_path / "out" / "seeds" / "dataset.json").read_text())["training"]
    for item, source in zip(seeds, items, strict=False):
        scribble, label = (
            nib.load(path) for path in (tmp_path / "out" / "seeds" / item["scribble"], study / source["label"])
        )
        assert scribble.shape == label.shape and (scribble.affine == label.affine).all()
        for number in range(3):
            told = {0, *np.unique(label.dataobj[..., number])}
            assert {*np.unique(scribble.dataobj[..., number])} <= told | {UNLABELED}
    where = {"run_dir": str(tmp_path / "out"), "source": str(study), "pattern": "image3*", "activation_maps": True}
    execute(ConfigWorkflow(str(BUNDLE / "inference.json"), workflow_type="infer", logging_file=False, **where))
    pred = np.asarray(nib.load(tmp_path / "out" / "predictions" / "image3_pred.nii.gz").dataobj)
    maps = np.asarray(nib.load(tmp_path / "out" / "predictions" / "image3_cam.nii.gz").dataobj)
    assert maps.shape == (12, 16, 3, 2) and {*maps.max((0, 1)).flat} <= {0, 1}  # each slice has a maximum of its own
    np.testing.assert_array_equal(pred, np.concatenate((np.full((12, 16, 3, 1), 0.25), maps), 3).argmax(3))


def test_no_background(scenes, tmp_path):
    """Where every pixel is of some tag there is no background's score to look for, and no figure of it."""
    content = json.loads((scenes / "dataset.json").read_text()) | {"background": False}
    for section in ("training", "validation"):
        for item in content[section]:
            item |= {key: str(scenes / item[key]) for key in ("image", "label")}
    (tmp_path / "masks.json").write_text(json.dumps(content))
    assert main(["tags", "--masks", str(tmp_path / "masks.json"), "--output", str(tmp_path / "dataset.json")]) == 0
    options = {"allow_outside": True, "allow_constant_tags": True, "channels": [4, 4], "strides": [2, 2]}
    flow = train(tmp_path, tmp_path / "out", "gap", epochs=1, **options)
    shown = {"IoU", "contour F", "tag AUC", "activated"}
    assert json.loads((tmp_path / "out" / "report.json").read_text())["validation"].keys() == shown
    files = [str(BUNDLE / f"{name}.json") for name in ("train", "evaluate")]
    where = {"output_dir": str(tmp_path / "out"), "dataset_dir": str(tmp_path), **options}
    execute(ConfigWorkflow(files, workflow_type="eval", run_id="evaluating", logging_file=False, **where))
    found = json.loads((tmp_path / "out" / "evaluation" / "report.json").read_text())["validation"]
    assert found.keys() == shown and found["IoU"].keys() == {*flow.parser.get_parsed_content("schema").names, "mean"}


@pytest.mark.slow
def test_resumed_is_bit_equal_with_samples(scenes, tmp_path):
    train(scenes, tmp_path / "whole", "isl_fsl")
    flow = tagged(scenes, tmp_path / "broken", "isl_fsl")
    flow.initialize()
    trainer = flow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.EPOCH_STARTED(once=2), stop)
    with pytest.raises(RuntimeError):
        flow.run()
    train(scenes, tmp_path / "broken", "isl_fsl")
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def stop():
    raise OSError("the disk is gone")


def test_unlearnable_tags_end_the_run_before_work(scenes, tmp_path):
    content = json.loads((scenes / "dataset.json").read_text())
    content["training"][0]["tags"] = ["acros"]
    for section in ("training", "validation"):
        for item in content[section]:
            item |= {key: str(scenes / item[key]) for key in ("image", "label")}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(RuntimeError) as error:
        tagged(tmp_path, tmp_path / "out", allow_outside=True).initialize()
    assert "did you mean 'across'?" in str(cause_of(error.value))
    assert not (tmp_path / "out").exists()


def test_metadata_is_of_the_default_data(scenes):
    outputs = json.loads((BUNDLE / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
    assert tuple(outputs["channel_def"].values()) == tag_schema(scenes / "dataset.json").names
