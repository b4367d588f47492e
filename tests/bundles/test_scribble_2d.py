# SPDX-License-Identifier: Apache-2.0
"""The bundle for photographs trains, evaluates and predicts, and says what is wrong with data and weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from medwsss.keys import UNLABELED, VOID
from medwsss.networks import MobileNetV2
from medwsss.terms.simplex import seed_mask
from tests.bundles.bundle import execute
from tests.bundles.photographs import TINY, read, train, workflow, write_study
from tests.bundles.test_training import losses, of

FROM_SCRATCH = "training starts from random weights"
VIT = {"network_def#num_layers": 1, "network_def#hidden_size": 12, "network_def#mlp_dim": 12}


def displayed(path):
    """The picture as it is looked at, first axis along a row."""
    with Image.open(path) as picture:
        turned = picture.rotate(-90, expand=True) if picture.getexif().get(0x0112) == 6 else picture
        return np.asarray(turned).swapaxes(0, 1).astype(np.float32)


# ---- training


def test_pseudo_labels_begin_after_warm_up(photographs, tmp_path):
    flow = train(photographs, tmp_path)
    assert of(flow, "train#trainer").state.metrics["solver_steps"] >= 1
    assert len(losses(tmp_path)) == 4 and np.isfinite(losses(tmp_path)).all()
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["validation"]) == ["IoU"] and list(report["validation"]["IoU"]) == ["class 0", "class 1", "mean"]
    assert (tmp_path / "model.pt").exists() and list((tmp_path / "pictures").iterdir())


@pytest.mark.usefixtures("without_pictures")
def test_held_out_seeds(photographs, tmp_path):
    flow = train(photographs, tmp_path, held_out_share=0.4)
    assert {"held_out_network", "held_out_pseudo_label"} <= of(flow, "train#trainer").state.metrics.keys()
    batch = next(iter(of(flow, "train#dataloader")))
    aside = seed_mask(batch["held_out"])
    assert aside.any() and not seed_mask(batch["scribble"])[aside].any()


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("method", ["pce", "gd", "full"])
def test_methods(photographs, tmp_path, method):
    flow = workflow(
        "train",
        "small",
        method,
        **{k: v for k, v in TINY.items() if k != "warmup_epochs"},
        dataset_dir=str(photographs),
        output_dir=str(tmp_path),
    )
    execute(flow)
    assert "solver_steps" not in of(flow, "train#trainer").state.metrics
    batch = next(iter(of(flow, "train#dataloader")))
    assert (batch["scribble"] == UNLABELED).any() == (method != "full")


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.filterwarnings(f"ignore:{FROM_SCRATCH}")
@pytest.mark.parametrize("overlay, changes", [("mobilenetv2", {}), ("vit", VIT)])
def test_networks(photographs, tmp_path, overlay, changes):
    changes = {**changes, "epochs": 1, "warmup_epochs": 0, "patch_size": [33, 33]}
    flow = train(photographs, tmp_path, "train", overlay, **changes)
    assert of(flow, "train#trainer").state.metrics["solver_steps"] >= 1


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    "name, value",
    [("solve_stride", 4), ("connectivity", 2), ("relaxation", "quadratic"), ("cross_entropy", "cross_entropy"),
     ("solver", {"_target_": "medwsss.solvers.GraphCut", "energy": "@energy"}), ("cache_rate", 0.0)],
)  # fmt: skip
def test_names_one_may_override(photographs, tmp_path, name, value):
    flow = train(photographs, tmp_path, epochs=1, warmup_epochs=0, **{name: value})
    assert of(flow, "train#trainer").state.metrics["solver_steps"] >= 1


@pytest.mark.usefixtures("without_pictures")
def test_solving_at_a_stride_has_a_coarser_problem(photographs, tmp_path):
    flow = train(photographs, tmp_path, epochs=1, warmup_epochs=0, solve_stride=4)
    assert of(flow, "energy").lam == 6 / 4
    batch = of(flow, "train#trainer").state.output[0]
    assert batch["label"]["pseudo_label"].shape == (2, 32, 24)


@pytest.mark.usefixtures("without_pictures")
def test_it_learns(photographs, tmp_path):
    settings = {"epochs": 4, "val_interval": 4, "samples_per_volume": 6, "learning_rate": 0.01, "scales": [0.75, 1.25]}
    flow = train(photographs, tmp_path, **settings, test_scales=[1.0])
    assert of(flow, "validate#evaluator").state.best_metric > 0.6  # all of one class: at most 0.4


def preprocessed(study, index=0, **changes):
    flow = workflow("train", "small", **{**TINY, "dataset_dir": str(study), "output_dir": "unused", **changes})
    flow.initialize()
    return of(flow, "train#dataset")[index]


def test_guide_is_grey_levels_of_255_and_the_image_is_normalised(photographs):
    """EXIF and all: differences of the guide are those of the displayed picture, so that a bandwidth of 9 means 9."""
    whole = {"scales": [1.0, 1.0], "patch_size": [52, 40], "flip_prob": 0.0, "network_def#strides": [1, 1, 1]}
    for index in (0, 1):
        item = preprocessed(photographs, index, **whole)
        picture = displayed(photographs / f"image_{index}.{('jpg', 'png')[index]}")
        assert picture.shape == (52, 40, 3)
        mean, std = (np.array(read("train")[key])[:, None, None] for key in ("mean", "std"))
        np.testing.assert_allclose(item["guide"] + mean, picture.transpose(2, 0, 1), atol=1e-3)
        np.testing.assert_allclose(item["image"] * std + mean, picture.transpose(2, 0, 1), atol=1e-3)


def test_padding_is_the_mean_image_and_void(photographs):
    item = preprocessed(photographs, patch_size=[80, 64], scales=[1.0, 1.0])
    outside = np.ones((80, 64), bool)
    there = (item["image"] != 0).any(0).numpy()
    xs, ys = np.nonzero(there)
    outside[xs.min() : xs.max() + 1, ys.min() : ys.max() + 1] = False
    assert outside.sum() == 80 * 64 - 52 * 40
    assert (item["scribble"][0].numpy()[outside] == VOID).all()
    assert (item["image"].numpy()[:, outside] == 0).all()  # which is the mean of ImageNet


def test_random_scale_is_drawn_anew_and_keeps_labels_in_place(photographs):
    """Whatever the scale, the labels of the box lie on its bright pixels."""
    boxes = set()
    for seed in range(4):
        item = preprocessed(photographs, 1, scales=[0.5, 2.0], patch_size=[104, 80], seed=seed, annotation_key="label")
        red, label = item["guide"][0], item["scribble"][0]
        inside, outside = red[label == 1], red[label == 0]
        assert inside.median() - outside.median() == pytest.approx(100, abs=10)
        boxes.add(int((label == 1).sum()))
        share = (label == 1).sum() / (label != VOID).sum()
        assert share == pytest.approx(0.22, abs=0.03)
    assert len(boxes) == 4


# ---- evaluation and inference


def predict(photographs, trained, output, **changes):
    places = {"dataset_dir": str(photographs), "pattern": "image_[45].*", "output_dir": str(output)}
    options = {**places, "model_file": str(trained / "model.pt"), "device": "cpu", "num_classes": 2, **changes}
    execute(workflow("inference", "small", kind="infer", **options))
    return {path.name: np.asarray(Image.open(path)) for path in output.iterdir()}


@pytest.mark.parametrize("testing", [{}, {"test_scales": [0.5, 1.0], "test_flip": True}])
def test_evaluation_is_of_the_saved_predictions(photographs, trained_on_photographs, tmp_path, testing):
    """mIoU of ``evaluate`` against NumPy on the files that ``inference`` wrote, at the images' own resolution."""
    changes = {**TINY, **testing, "dataset_dir": str(photographs), "output_dir": str(tmp_path)}
    model = str(trained_on_photographs / "model.pt")
    execute(workflow("train", "small", "evaluate", **changes, model_file=model))
    report = json.loads((tmp_path / "evaluation" / "report.json").read_text())["validation"]["IoU"]

    predictions = predict(photographs, trained_on_photographs, tmp_path / "out", **testing)
    assert set(predictions) == {"image_4_pred.png", "image_5_pred.png"}
    pairs = [
        (predictions[f"image_{i}_pred.png"], np.asarray(Image.open(photographs / f"label_{i}.png"))) for i in (4, 5)
    ]
    pred, truth = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    assert pairs[0][0].shape == (40, 52)
    pred, truth = pred[truth != VOID], truth[truth != VOID]
    expected = [((pred == k) & (truth == k)).sum() / ((pred == k) | (truth == k)).sum() for k in range(2)]
    assert list(report.values()) == pytest.approx([*expected, np.mean(expected)], abs=1e-9)


def test_a_runs_folder_is_enough(photographs, trained_on_photographs, tmp_path):
    """Its overlay with the network, too."""
    told = predict(photographs, trained_on_photographs, tmp_path / "told")
    folder = shutil.copytree(trained_on_photographs, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    source = {"run_dir": str(folder), "source": str(photographs), "pattern": "image_[45].*", "device": "cpu"}
    execute(workflow("inference", kind="infer", uncertainty=True, **source))
    for name, labels in told.items():
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "predictions" / name)), labels)
        uncertainty = np.asarray(Image.open(folder / "predictions" / name.replace("pred.png", "uncertainty.tif")))
        assert uncertainty.shape == labels.shape and 0 <= uncertainty.min() < uncertainty.max() <= 1


# ---- what is wrong is said before training


def cause_of(flow):
    with pytest.raises(RuntimeError) as error:
        flow.initialize()
    found = error.value
    while type(found) is RuntimeError and found.__cause__ is not None:
        found = found.__cause__
    assert isinstance(found, ValueError)
    return str(found)


@pytest.mark.parametrize("given", [None, "nowhere"])
def test_without_data_one_is_told_how_to_make_some(given):
    message = cause_of(workflow("train", "small", **TINY, dataset_dir=given))
    assert message.startswith("expected --dataset_dir") and "python -m data_prep voc|" in message


@pytest.fixture
def damaged(photographs, tmp_path):
    return shutil.copytree(photographs, tmp_path / "study")


def other_size(folder):
    Image.open(folder / "scribble_1.png").resize((40, 52)).save(folder / "scribble_1.png")
    return "expected the shape (52, 40)", "(40, 52)", "scribble_1.png"


def one_grey_image(folder):
    Image.open(folder / "image_1.png").convert("L").save(folder / "image_1.png")
    return "expected 3 channels", "image_1.png"


def palette_image(folder):
    Image.open(folder / "image_1.png").convert("P").save(folder / "image_1.png")
    return "palette", "image_1.png"


def transparent_image(folder):
    image = Image.open(folder / "image_1.png")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(folder / "image_1.png")
    return "alpha", "image_1.png"


@pytest.mark.parametrize("damage", [other_size, one_grey_image, palette_image, transparent_image])
def test_bad_pictures(damaged, tmp_path, damage):
    told = damage(damaged)
    message = cause_of(workflow("train", "small", **TINY, dataset_dir=str(damaged), output_dir=str(tmp_path / "out")))
    assert all(words in message for words in told), message


def test_palette_masks_and_cmyk_photographs_work(damaged, tmp_path):
    for path in damaged.glob("scribble_*.png"):
        mask = Image.open(path).copy()
        mask.putpalette([k * 7 % 256 for k in range(768)])
        mask.save(path)
    Image.open(damaged / "image_2.jpg").convert("CMYK").save(damaged / "image_2.jpg")
    assert np.isfinite(train_losses(damaged, tmp_path / "out")).all()


def train_losses(study, output):
    train(study, output)
    return losses(output)


def test_a_photograph_of_one_pixel(photographs, tmp_path):
    study = write_study(tmp_path / "study")
    for name in (f"{key}_{index}.png" for index in (3, 5) for key in ("image", "scribble", "label")):
        Image.open(study / name).crop((20, 20, 21, 21)).save(study / name)
    assert np.isfinite(train_losses(study, tmp_path / "out")).all()


@pytest.fixture
def weights(tmp_path):
    """A file in torchvision's layout, of a classifier of 21 classes instead of ImageNet's 1000."""
    torch.manual_seed(5)
    state = {
        **MobileNetV2(2, 3).state_dict(),
        "classifier.1.weight": torch.rand(21, 1280),
        "classifier.1.bias": torch.rand(21),
    }
    torch.save(state, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_weights_of_another_number_of_classes(photographs, weights, tmp_path, capsys):
    """The classifier is skipped and said to be, all of the backbone is loaded; without a file, that is warned of."""
    changes = {**TINY, "dataset_dir": str(photographs), "output_dir": str(tmp_path / "out")}
    flow = workflow("train", "mobilenetv2", **changes, weights=str(weights))
    flow.initialize()
    said = capsys.readouterr().out
    assert "2 skipped (classifier.1.weight, classifier.1.bias)" in said and "missing" not in said
    state, expected = of(flow, "network").backbone.state_dict(), torch.load(weights, weights_only=True)
    assert all(torch.equal(state[name], expected[name]) for name in state)
    with pytest.warns(UserWarning, match=FROM_SCRATCH):
        workflow("train", "mobilenetv2", **changes).initialize()


def test_weights_of_another_network(photographs, weights, tmp_path):
    changes = {**TINY, "dataset_dir": str(photographs), "output_dir": str(tmp_path / "out")}
    message = cause_of(workflow("train", "resnet101", **changes, weights=str(weights)))
    assert "expected the weights of a ResNet" in message and "weights.pth" in message
