# SPDX-License-Identifier: Apache-2.0
"""A weak batch in MONAI's stock trainer, and a bad case in its evaluator."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch import nn

from medwsss.engines import CaseByCase, PrepareWeakBatch, ReadableDataset
from medwsss.handlers import PseudoLabelHandler
from medwsss.keys import GUIDE, LABEL, PSEUDO_LABEL, SCRIBBLE, UNLABELED
from medwsss.losses import SelfLabelingLoss
from medwsss.solvers import NaturalGradient
from medwsss.terms import SelfLabelingEnergy


def cases(count=4):
    """Images whose first row is a seed of class 0 and whose last row is one of class 1."""
    generator = torch.Generator().manual_seed(3)
    scribble = torch.full((1, 6, 5), UNLABELED)
    scribble[:, 0], scribble[:, -1] = 0, 1
    images = torch.rand(count, 1, 6, 5, generator=generator)
    return [{"image": MetaTensor(image), SCRIBBLE: scribble, GUIDE: image} for image in images]


def trainer(batch_size=2, loss=None, handlers=(), lr=0.5, **options):
    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 3, padding=1)
    return SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(cases()), batch_size=batch_size),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=lr),
        loss_function=loss or SelfLabelingLoss(),
        prepare_batch=PrepareWeakBatch(),
        train_handlers=list(handlers),
        decollate=False,
        **options,
    )


def solving():
    return PseudoLabelHandler(NaturalGradient(SelfLabelingEnergy(), max_steps=5))


def test_target():
    image, scribble = torch.rand(2, 1, 4), torch.zeros(2, 1, 4, dtype=torch.uint8)
    batch = {"image": MetaTensor(image), SCRIBBLE: MetaTensor(scribble), GUIDE: MetaTensor(image + 1)}
    x, target = PrepareWeakBatch()(batch, "cpu")
    assert target.keys() == {SCRIBBLE, GUIDE}
    assert not any(isinstance(value, MetaTensor) for value in (x, *target.values()))
    assert torch.equal(x, image) and torch.equal(target[GUIDE], image + 1) and torch.equal(target[SCRIBBLE], scribble)


def test_labels_of_whole_volumes_go_along():
    y = torch.rand(1, 3, 4)
    batch = {"image": torch.rand(1, 1, 4), SCRIBBLE: torch.ones(1, 1, 4), PSEUDO_LABEL: MetaTensor(y)}
    _, target = PrepareWeakBatch()(batch, "cpu")
    assert torch.equal(target[PSEUDO_LABEL], y) and not isinstance(target[PSEUDO_LABEL], MetaTensor)


def test_types_are_for_the_image_alone():
    batch = {"image": torch.rand(1, 1, 4), SCRIBBLE: torch.full((1, 1, 4), UNLABELED), GUIDE: torch.rand(1, 1, 4)}
    x, target = PrepareWeakBatch()(batch, "cpu", dtype=torch.float16)
    assert x.dtype == torch.float16 and target[SCRIBBLE].dtype == torch.int64 and target[GUIDE].dtype == torch.float32


def test_other_keys():
    batch = {"image": torch.rand(1, 1, 4), LABEL: torch.ones(1, 1, 4)}
    x, target = PrepareWeakBatch(scribble_key=LABEL)(batch)
    assert torch.equal(target[SCRIBBLE], batch[LABEL])
    assert target[GUIDE] is x  # no guide: the image


@pytest.mark.parametrize("missing", ["image", SCRIBBLE])
def test_missing_entry(missing):
    batch = {"image": torch.rand(1, 1, 4), SCRIBBLE: torch.ones(1, 1, 4)}
    del batch[missing]
    with pytest.raises(KeyError) as error:
        PrepareWeakBatch()(batch)
    assert f"expected {missing!r} in the batch, got" in error.value.args[0]


def test_stock_trainer_steps_by_the_seed_loss():
    """One step of gradient descent by hand."""
    engine = trainer(batch_size=4)
    network = nn.Conv2d(1, 2, 3, padding=1)
    network.load_state_dict(engine.network.state_dict())
    image = torch.stack([case["image"].as_tensor() for case in cases()])
    log_sigma = network(image).log_softmax(1)
    seeds = -(log_sigma[:, 0, 0].sum() + log_sigma[:, 1, -1].sum()) / (4 * 2 * 5)
    seeds.backward()
    engine.run()
    for mine, p in zip(engine.network.parameters(), network.parameters()):
        torch.testing.assert_close(mine, p - 0.5 * p.grad)
    assert engine.state.output["loss"].item() == pytest.approx(seeds.item())


def test_accumulated_gradients_are_those_of_the_whole_batch():
    """Each half has as many seeds and unlabelled voxels, so the mean of means is the mean."""
    whole, halves = trainer(4, handlers=[solving()]), trainer(2, handlers=[solving()], accumulation_steps=2)
    whole.run()
    halves.run()
    for a, b in zip(whole.network.parameters(), halves.network.parameters()):
        torch.testing.assert_close(a, b)


def test_autocast():
    """Half precision inside the network, single outside. MONAI's own ``amp`` is of CUDA alone."""
    seen = []

    class Watched(SelfLabelingLoss):
        def forward(self, input, target):  # noqa: A002 (MONAI's name)
            loss = super().forward(input, target)
            seen.append((input.dtype, target[PSEUDO_LABEL].dtype, loss.dtype))
            return loss

    engine = trainer(loss=Watched(), handlers=[solving()])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        engine.run()
    assert seen == [(torch.bfloat16, torch.float32, torch.float32)] * 2
    assert all(p.isfinite().all() for p in engine.network.parameters())


# ---- an evaluator whose cases may fail


class Doubled(nn.Module):
    """Twice the image; not for images that begin with 3."""

    def forward(self, x):
        if x.flatten()[0] == 3:
            raise torch.OutOfMemoryError("no room\nfor it")
        return 2 * x


def read(item):
    """A transform that fails as MONAI's compositions do."""
    value = int(item["image"].removeprefix("case_"))
    if value == 1:
        raise RuntimeError("applying transform") from ValueError("expected a readable image, got nothing in case_1")
    if value == 2:
        raise KeyError("broken")
    return {"image": MetaTensor(torch.full((1, value + 1), float(value)), meta={"filename_or_obj": item["image"]})}


def evaluator(names, saved, **options):
    cases = CaseByCase()

    def save(data):
        if (value := data["pred"].flatten()[0]) == 8:
            raise OSError(28, "No space left on device")
        saved.append(value.item())
        return data

    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(ReadableDataset([{"image": name} for name in names], read), **options),
        network=Doubled(),
        iteration_update=cases,
        val_handlers=[cases],
        postprocessing=save,
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_case_is_named_and_the_others_are_done(workers, caplog):
    saved = []
    engine = evaluator([f"case_{k}" for k in range(6)], saved, num_workers=workers)
    with pytest.raises(ValueError) as error:
        engine.run()
    assert saved == [0, 10]  # of sizes that differ
    told = str(error.value)
    assert told.startswith("2 predicted, 4 failed: expected a readable image, got nothing in case_1; ")
    assert "KeyError: 'broken' in case_2; OutOfMemoryError: no room for it in case_3; " in told
    assert told.endswith("OSError: [Errno 28] No space left on device in case_4") and "\n" not in told
    assert [r.levelname for r in caplog.records if r.name == "medwsss.engines"] == ["ERROR"] * 4


def test_all_cases_well(caplog):
    saved = []
    with caplog.at_level("INFO", "medwsss.engines"):
        evaluator(["case_0", "case_5"], saved).run()
    assert saved == [0, 10] and "2 predicted, 0 failed." in caplog.text


def test_a_long_list_of_failures_is_cut():
    with pytest.raises(ValueError, match="^0 predicted, 12 failed: (.*; ){10}and 2 more, named above$"):
        evaluator(["case_1"] * 12, []).run()


def test_cases_come_one_by_one():
    with pytest.raises(ValueError, match="batch_size 1.*batches of 2"):
        evaluator(["case_0"] * 2, [], batch_size=2).run()
