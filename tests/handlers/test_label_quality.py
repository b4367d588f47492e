# SPDX-License-Identifier: Apache-2.0
"""What is said of pseudo-labels against masks, with a network and a solver whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import Dataset, MetaTensor
from monai.inferers import SimpleInferer

from medwsss.handlers import LabelQualityHandler, VolumeLabelHandler
from medwsss.handlers.label_quality import read_label_quality
from medwsss.keys import CASE, LABEL, SCRIBBLE, UNLABELED
from medwsss.label_store import LabelStore

K, SHAPE = 3, (6, 5, 4)


class Files(Dataset):
    """Items whose image is a file's name before it is loaded."""

    def __init__(self, items, names):
        super().__init__([{**item, "image": name} for item, name in zip(items, names)])
        self.items = items

    def __getitem__(self, index):
        return self.items[index]


def cases(count):
    """The image is the network's logits; two slices' strokes are the mask's."""
    found = []
    for index in range(count):
        generator = torch.Generator().manual_seed(index)
        truth = torch.randint(K, (1, *SHAPE), generator=generator)
        scribble = torch.full_like(truth, UNLABELED)
        scribble[..., :2] = truth[..., :2]
        image = MetaTensor(torch.randn(K, *SHAPE, generator=generator), affine=torch.diag(torch.tensor([1, 1, 2, 1.0])))
        found.append(
            {"image": image, SCRIBBLE: scribble, LABEL: MetaTensor(truth, affine=image.affine), CASE: f"c{index}"}
        )
    return found


def ones(logits, guide, scribble):
    """A solver that says class 1 everywhere."""
    labels = torch.zeros_like(logits)
    labels[:, 1] = 1
    return SimpleNamespace(labels=labels)


def handler(folder, items, names, masks=None, **options):
    labels = VolumeLabelHandler(
        ones, Files(items, names), torch.nn.Identity(), SimpleInferer(), K, LabelStore(folder / "labels")
    )
    return LabelQualityHandler(labels, masks or Files(items, names), folder / "quality", **options)


def run(of, epochs=3):
    engine, seen = Engine(lambda engine, batch: None), []
    of.attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append(dict(engine.state.metrics)))
    engine.run([0], max_epochs=epochs)
    return seen


def test_figures_are_of_every_other_case_and_of_no_seed(tmp_path):
    items = cases(4)
    seen = run(handler(tmp_path, items, "abcd", number=2, interval=2))
    truth = np.stack([items[i][LABEL][0].numpy()[..., 2:] for i in (0, 2)])
    guess = np.stack([items[i]["image"].numpy().argmax(0)[..., 2:] for i in (0, 2)])
    assert seen[0] == {}
    for epoch in (1, 2):  # the second, and the last
        assert seen[epoch]["label_accuracy_before"] == pytest.approx((guess == truth).mean())
        assert seen[epoch]["label_accuracy_after"] == pytest.approx((truth == 1).mean())
        assert seen[epoch]["label_entropy_after"] == 0
    found = read_label_quality(tmp_path / "quality")
    assert [each["epoch"] for each in found.epochs] == [2, 3] and list(found.cases) == ["c0", "c2"]
    assert sum(found.epochs[-1]["after"]["voxels"]) == truth.size
    slices = found.cases["c2"]
    assert (slices.pseudo == 1).all() and set(np.unique(slices.strokes)) <= {0, 1, 2, UNLABELED}
    number = slices.numbers[0] - 1
    np.testing.assert_array_equal(slices.truth[0], items[2][LABEL][0, ..., number].numpy())


def test_a_run_that_goes_on_adds_to_what_there_is(tmp_path):
    """And one that starts again from an earlier epoch replaces what came after it."""
    for epochs in (3, 2):
        run(handler(tmp_path, cases(1), "a"), epochs)
        assert [each["epoch"] for each in read_label_quality(tmp_path / "quality").epochs] == list(range(1, epochs + 1))


def test_masks_that_do_not_fit_are_told_of_before_the_first_epoch(tmp_path):
    items = cases(2)
    with pytest.raises(ValueError, match="expected a mask of b, got none"):
        run(handler(tmp_path, items, "ab", Files(items, "ac")))
    smaller = [{**item, LABEL: item[LABEL][..., :3]} for item in items]
    with pytest.raises(ValueError, match=r"expected a mask of \(6, 5, 4\) of a, got \(6, 5, 3\)"):
        run(handler(tmp_path, items, "ab", Files(smaller, "ab")))
    with pytest.raises(ValueError, match="an interval from 1, got 4 and 0"):
        handler(tmp_path, items, "ab", interval=0)
    assert read_label_quality(tmp_path / "quality").epochs == ()
