# SPDX-License-Identifier: Apache-2.0
"""The same command again continues, whatever ended it before; a poisoned batch does not end it."""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events

from medwsss.keys import UNLABELED
from tests.bundles.bundle import TINY, command, execute, read, train, words_of, workflow
from tests.bundles.test_training import of
from tests.fault.kill_training import EPOCHS, kill_and_compare, outcome, train_struck
from tests.toy_training import Typed, in_process


@pytest.mark.slow
def test_the_command_twice(study, tmp_path):
    """The second time there is nothing left to do but to say so."""
    first = command(study, tmp_path / "out")
    printed, _ = first.communicate()
    assert first.returncode == 0
    table = printed[printed.index("Validation, best epoch") :].split("\n20")[0]  # up to the next log line
    saved = (tmp_path / "out" / "model.pt").read_bytes()
    second = Typed(words_of(study, tmp_path / "out"))
    again, errors = second.communicate()
    assert second.returncode == 0
    assert "Already finished" in again + errors
    assert table in again
    assert (tmp_path / "out" / "model.pt").read_bytes() == saved


@pytest.mark.slow
def test_killed_and_resumed_is_bit_equal(study, tmp_path):
    results = kill_and_compare(tmp_path, study, kills=2, seed=1)
    assert all(equal for _, equal in results), results


@pytest.mark.slow
def test_sigterm_exits_with_143_and_resumes(study, tmp_path):
    assert in_process(train_struck, study, tmp_path / "unbroken") == 0
    assert in_process(train_struck, study, tmp_path / "ended", signal.SIGTERM, 13) == 143
    assert list((tmp_path / "ended" / "checkpoints").glob("checkpoint_epoch=*.pt"))
    assert not (tmp_path / "ended" / "checkpoints" / f"checkpoint_epoch={EPOCHS}.pt").exists()
    assert in_process(train_struck, study, tmp_path / "ended") == 0
    assert outcome(tmp_path / "ended") == outcome(tmp_path / "unbroken")


def test_more_epochs_and_other_settings(study, tmp_path, caplog):
    """Epoch 1 is not trained again, epoch 2 is that of a run of two; whatever else is another is told."""
    train(study, tmp_path, epochs=1)
    before = torch.load(tmp_path / "checkpoints" / "checkpoint_epoch=1.pt", weights_only=True)
    rates = []
    flow = workflow("train", **TINY, dataset_dir=str(study), output_dir=str(tmp_path))
    flow.parser["optimizer#weight_decay"] = 0.5
    flow.parser["random_state"] = object()  # whatever a caller in Python has put there
    flow.initialize()
    optimizer = of(flow, "optimizer")

    @of(flow, "train#trainer").on(Events.ITERATION_STARTED)
    def look():
        rates.append(optimizer.param_groups[0]["lr"])

    flow.run()
    flow.finalize()
    assert of(flow, "train#trainer").state.iteration == 6
    assert of(flow, "lr_scheduler").last_epoch == 6 == 2 * before["lr_scheduler"]["last_epoch"]
    assert rates == pytest.approx([0.002 * (1 - i / 6) ** 0.9 for i in (3, 4, 5)])
    assert optimizer.param_groups[0]["weight_decay"] == 0.5
    told = [record.getMessage().split(": ", 1)[1] for record in caplog.records if "Changed" in record.getMessage()]
    assert told == [
        "epochs was 1, is 2.",
        "optimizer#weight_decay was not given, is 0.5.",
        "random_state was not given, is '<object object>'.",
        "optimizer#groups#0#weight_decay was 0.01, is 0.5.",
        "lr_scheduler#total_iters was 3, is 6.",
    ]


def test_other_data_are_told(study, trained, tmp_path, caplog):
    """A stroke more under the same names."""
    copied = shutil.copytree(study, tmp_path / "study")
    file = copied / "scribbles" / "training_001.nii.gz"
    image = nib.load(file)
    array = np.asarray(image.dataobj).copy()
    array[tuple(np.argwhere(array == UNLABELED)[0])] = 1
    nib.save(nib.Nifti1Image(array, image.affine), file)
    (tmp_path / "out").mkdir()
    shutil.copytree(trained / "checkpoints", tmp_path / "out" / "checkpoints")
    train(copied, tmp_path / "out")
    told = [record.getMessage() for record in caplog.records if "Changed" in record.getMessage()]
    assert [
        words in text for words, text in zip((" study was '3 cases (", " dataset_dir", " output_dir"), sorted(told))
    ]
    assert sum(" study was " in text for text in told) == 1 and not any("val_study" in text for text in told)


def test_other_classes_are_refused(study, trained, tmp_path):
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(RuntimeError) as error:
        train(study, tmp_path, num_classes=6, epochs=3)
    message = str(error.value.__cause__)
    assert "another network" in message and "num_classes was 5, is 6" in message and "another output_dir" in message


def test_a_handler_in_front_of_all_others_changes_nothing(study, trained, tmp_path):
    """A user's overlay, and a run that goes on with it: handlers are known by name, not by their place."""
    content = {"train#handlers": [{"_target_": "GarbageCollector"}, *read("train")["train"]["handlers"]]}
    (tmp_path / "front.json").write_text(json.dumps(content))
    overlaid = ("train", str(tmp_path / "front"))
    train(study, tmp_path / "out", *overlaid)
    assert torch.equal(*(weights(folder) for folder in (trained, tmp_path / "out")))

    shutil.copytree(trained / "checkpoints", tmp_path / "resumed" / "checkpoints")
    flow = train(study, tmp_path / "resumed", *overlaid, epochs=3)
    assert of(flow, "train#trainer").state.iteration == 9 and of(flow, "pseudo_labels").active
    saved = torch.load(tmp_path / "resumed" / "checkpoints" / "checkpoint_epoch=3.pt", weights_only=True)
    assert {"pseudo_labels", "diagnostics", "guard", "report", "best_model"} <= saved.keys()


def weights(folder):
    state = torch.load(folder / "checkpoints" / "checkpoint_epoch=2.pt", weights_only=True)["network"]
    return torch.cat([value.flatten() for value in state.values()])


def test_case_that_turns_nan_while_training(study, tmp_path, caplog):
    """What no check of the files can see. Six batches an epoch, two of them poisoned."""
    poison = "$lambda x: x * float('nan') if 'training_001' in x.meta['filename_or_obj'] else x"
    settings = {**TINY, "batch_size": 1, "dataset_dir": str(study), "output_dir": str(tmp_path)}
    flow = workflow("train", **settings)
    steps = flow.parser["train#random_transforms"]
    flow.parser["train#random_transforms"] = [*steps, {"_target_": "Lambdad", "keys": "image", "func": poison}]
    with caplog.at_level(logging.WARNING):
        execute(flow)
    told = [record.getMessage() for record in caplog.records if "Step skipped" in record.getMessage()]
    assert len(told) == of(flow, "train#trainer").state.skipped_batches == 4
    assert all("images/training_001.nii.gz" in line for line in told)
    assert not any("training_000" in line or "training_002" in line for line in told)
    assert all(value.isfinite().all() for value in of(flow, "network").state_dict().values())
    assert math.isfinite(of(flow, "validate#evaluator").state.best_metric)
    checkpoint = torch.load(tmp_path / "checkpoints" / "checkpoint_epoch=2.pt", weights_only=True)
    assert checkpoint["guard"] == {"skipped_batches": 4}


def test_nothing_but_nan_ends_training_in_words(study, tmp_path):
    settings = {**TINY, "batch_size": 1, "dataset_dir": str(study), "output_dir": str(tmp_path)}
    flow = workflow("train", **settings)
    steps = flow.parser["train#random_transforms"]
    all_nan = {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x * float('nan')"}
    flow.parser["train#random_transforms"] = [*steps, all_nan]
    with pytest.raises(RuntimeError) as error:
        execute(flow)
    assert "in a row" in str(error.value.__cause__)
