# SPDX-License-Identifier: Apache-2.0
"""Pictures, judged by their colours: flat areas keep a class colour exactly, so counting pixels tells what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from monai.engines import IterationEvents, SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader

from medwsss.engines import PrepareWeakBatch
from medwsss.handlers.pictures import PictureHandler
from medwsss.keys import LABEL, PSEUDO_LABEL, UNLABELED, VOID
from medwsss.reports.pictures import class_colors, render

NAMES = ("background", "organ", "vessel")
AREA = 2000  # more pixels than a legend patch, fewer than a quarter of a column


def area(picture, color):
    """Pixels of exactly this colour."""
    return int((abs(picture.astype(float) - 255 * np.asarray(color)) < 1).all(-1).sum())


def noise(*shape):
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))


def filled(value, *shape):
    return torch.full((1, *shape), value)


def test_class_colors_are_distinct_and_never_run_out():
    assert len(np.unique(class_colors(20), axis=0)) == 20
    assert class_colors(200).shape == (200, 3)


def test_pseudo_label_is_the_convex_mix_of_class_colours():
    weights = torch.tensor([0.2, 0.5, 0.3])
    y = weights.reshape(3, 1, 1).expand(3, 4, 4)
    r0, r1, r2 = class_colors(3)
    mix = 0.2 * r0 + 0.5 * r1 + 0.3 * r2
    assert area(render(noise(4, 4), pseudo_label=y, class_names=NAMES), mix) > AREA
    assert area(render(noise(4, 4), class_names=NAMES), mix) == 0


@pytest.mark.parametrize("what", ["scribble", "label", "prediction"])
def test_classes_have_their_colours(what):
    classes = torch.tensor([[[1, 1], [2, 2]]])
    picture = render(noise(2, 2), **{what: classes}, class_names=NAMES)
    assert [area(picture, color) > AREA for color in class_colors(3)] == [False, True, True]


def test_prediction_takes_logits():
    logits = torch.tensor([1.0, -2.0, 5.0]).reshape(3, 1, 1).expand(3, 4, 4)
    picture = render(noise(4, 4), prediction=logits, class_names=NAMES)
    assert [area(picture, color) > AREA for color in class_colors(3)] == [False, False, True]


def test_unlabelled_is_transparent_and_void_is_hatched_grey():
    image, greys = filled(0.0, 4, 4), ((0.45,) * 3, (0.65,) * 3)
    black = [
        area(render(image, scribble=filled(value, 4, 4), class_names=NAMES), (0, 0, 0)) for value in (UNLABELED, VOID)
    ]
    assert black[0] - black[1] > 4 * AREA  # the scribble column shows the black image, or does not
    void = render(image, scribble=filled(VOID, 4, 4), class_names=NAMES)
    assert min(area(void, grey) for grey in greys) > AREA


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_plane_looks_the_same_as_a_volume_one_voxel_thick(axis):
    tensors = {"scribble": torch.randint(0, 3, (1, 8, 8)), "pseudo_label": torch.rand(3, 8, 8).softmax(0)}
    plane = render(noise(8, 8), **tensors, class_names=NAMES)
    volume = render(
        noise(8, 8).unsqueeze(axis), **{k: v.unsqueeze(axis) for k, v in tensors.items()}, class_names=NAMES
    )
    assert np.array_equal(plane, volume)


def test_a_volume_shows_the_slice_with_the_most_foreground():
    scribble = torch.zeros(1, 8, 8, 5, dtype=torch.long)
    scribble[..., 1] = UNLABELED
    scribble[0, :2, :2, 2] = 1
    scribble[..., 3] = 2
    picture = render(noise(8, 8, 5), scribble=scribble, class_names=NAMES)
    assert [area(picture, color) > AREA for color in class_colors(3)] == [False, False, True]


def test_a_volume_shows_the_slice_that_the_picture_is_about():
    label = torch.zeros(1, 8, 8, 5, dtype=torch.long)
    label[..., 1], label[0, :, :, 3] = 1, 2
    focus = torch.zeros(8, 8, 5)
    focus[..., 1], focus[0, 0, 3] = 0.1, 7
    for of, shown in ((focus, [False, False, True]), (0 * focus, [False, True, False])):  # of nothing: most foreground
        picture = render(noise(8, 8, 5), label=label, focus=of, class_names=NAMES)
        assert [area(picture, color) > AREA for color in class_colors(3)] == shown


def test_contours_let_the_image_be_seen():
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    label[0, 2:6, 2:6] = 2
    prediction = (label // 2).roll(1, 1)
    picture = render(filled(0.0, 8, 8), prediction=prediction, label=label, class_names=NAMES)
    contours = picture[:, -picture.shape[1] // 4 :]  # the last of four columns
    for color in class_colors(3)[1:]:  # of the prediction, and of the truth
        assert 20 < area(contours, color) < AREA
    assert area(contours, (0, 0, 0)) > 4 * AREA


def test_the_scale_bar_and_pixels_that_are_not_square():
    """32 mm wide and 48 mm high, of which a bar of 5 mm is the longest of 1, 2, 5, 10 within three tenths."""
    picture = render(torch.zeros(1, 64, 48), class_names=NAMES, spacing=(0.5, 1.0), unit="mm")
    black = (picture == 0).all(-1)
    rows, columns = (np.flatnonzero(black.sum(axis) > 80) for axis in (1, 0))  # not those of letters alone
    (top, bottom), (left, right) = ((each[0], each[-1] + 1) for each in (rows, columns))
    assert (bottom - top) / (right - left) == pytest.approx(48 / 32, rel=0.03)
    runs = ["".join("_x"[int(v > 250)] for v in row).split("_") for row in picture[top:bottom, left:right].min(-1)]
    assert max(len(run) for row in runs for run in row) / (right - left) == pytest.approx(5 / 32, abs=0.02)
    plain = render(torch.zeros(1, 64, 48), class_names=NAMES, spacing=(0.5, 1.0))
    assert (plain[top:bottom, left:right] == 0).all()  # no bar where the unit is not known


def test_three_channels_are_a_colour_image():
    image = torch.zeros(3, 4, 4)
    image[0, 2:], image[2, :2] = 1, 1
    picture = render(image, class_names=NAMES)
    assert area(picture, (1, 0, 0)) > AREA and area(picture, (0, 0, 1)) > AREA


def run(output_dir, decollate, items=None, pseudo_label=None, **options):
    """Three epochs of a stock trainer, with soft labels put in from the second on, validated after every epoch."""
    items = items or [{"image": noise(8, 8, 4), "scribble": filled(1, 8, 8, 4), "label": filled(2, 8, 8, 4)}] * 2
    pseudo_label = torch.full((3, 8, 8, 4), 1 / 3) if pseudo_label is None else pseudo_label
    network = nn.Conv3d(1, 3, 1)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)  # predicts background
    evaluator = SupervisedEvaluator("cpu", DataLoader(items, batch_size=2), network, decollate=decollate)
    trainer = SupervisedTrainer(
        "cpu",
        3,
        DataLoader(items, batch_size=2),
        network,
        torch.optim.SGD(network.parameters(), lr=0.0),
        lambda pred, target: pred.mean(),
        prepare_batch=PrepareWeakBatch(),
        decollate=decollate,
        train_handlers=[
            ValidationHandler(1, evaluator),
            PictureHandler(output_dir, NAMES, validator=evaluator, **options),
        ],
    )

    @trainer.on(IterationEvents.FORWARD_COMPLETED)
    def self_label(engine):
        if engine.state.epoch > 1:
            engine.state.output[LABEL][PSEUDO_LABEL] = torch.stack([pseudo_label] * 2)
            engine.state.solver_energy = [3.0, 2.0, 1.5]

    trainer.run()
    return {path.name: (imread(path)[..., :3] * 255).round() for path in (output_dir / "pictures").iterdir()}


@pytest.mark.parametrize("decollate", [True, False])
def test_handler_draws_both_engines(tmp_path, decollate):
    pictures = run(tmp_path, decollate)
    assert set(pictures) == {
        *(f"{name}_{epoch:04d}.png" for name in ("training", "validation") for epoch in (1, 2, 3)),
        *("solver_energy_0002.png", "solver_energy_0003.png"),
    }
    colors = [*class_colors(3), class_colors(3).mean(0)]

    def shown(name):
        return [area(pictures[name], color) > AREA for color in colors]

    assert shown("validation_0003.png") == [True, False, True, False]  # prediction, label
    assert shown("training_0001.png") == [True, True, True, False]  # and scribble
    assert shown("training_0002.png") == [True, True, True, True]  # and pseudo-label


def test_interval_and_the_last_epoch_and_tensorboard(tmp_path):
    assert set(run(tmp_path, True, interval=2)) == {
        f"{n}_000{e}.png" for n in ("training", "validation", "solver_energy") for e in (2, 3)
    }
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("training", "validation", "solver_energy"):
        assert [event.step for event in events.Images(f"pictures/{name}")] == [2, 3]


def test_the_worst_case_and_the_least_sure_slice(tmp_path):
    """The network says background: of the first case a slice of class 1 is wrong, of the second a row of class 2."""
    shape = (8, 8, 4)
    items = [{"image": noise(*shape), "scribble": filled(UNLABELED, *shape), "label": filled(0, *shape)} for _ in "ab"]
    items[0]["label"][..., 3], items[1]["label"][:, 0] = 1, 2
    y = torch.zeros(3, 8, 8, 4)
    y[1], y[:, :, :, 1] = 1, torch.tensor([0.4, 0.0, 0.6])[:, None, None]
    pictures = run(tmp_path, True, items, y, interval=3)
    colors = [*class_colors(3), 0.4 * class_colors(3)[0] + 0.6 * class_colors(3)[2]]
    validation, training = (
        [area(pictures[f"{n}_0003.png"], c) > AREA for c in colors] for n in ("validation", "training")
    )
    assert validation == [True, True, False, False]
    assert training == [True, False, False, True]  # the prediction, and the mixed slice of the pseudo-label


def test_interval_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="at least one epoch, got 0"):
        PictureHandler(tmp_path, NAMES, interval=0)
