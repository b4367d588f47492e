# SPDX-License-Identifier: Apache-2.0
"""The report, from real engines whose Dice is known by counting voxels."""

from __future__ import annotations

import json

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointLoader, IgniteMetricHandler, ValidationHandler
from monai.metrics import DiceMetric
from monai.networks import one_hot
from torch import nn
from torch.utils.data import DataLoader

from medwsss.handlers.best_model import BestModel, LastModel
from medwsss.handlers.diagnostics import PseudoLabelDiagnostics
from medwsss.handlers.report import ReportHandler

NAMES = ["background", "organ", "vessel"]
#: truth and prediction of two cases. Organ: 2·1/(2+1) and 2·2/(2+2). Vessel: missed, and in neither: 0 and NaN.
TRUTH = torch.tensor([[[0, 1, 1, 2]], [[0, 1, 1, 0]]])
PREDICTION = torch.tensor([[[0, 0, 1, 0]], [[0, 1, 1, 0]]])


class Oracle(nn.Module):
    """Hands its input through at the first validation, says background ever after."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, x):
        self.calls += not self.training
        return one_hot(x if self.calls <= 1 or self.training else 0 * x, 3) * self.weight


def save(path, parts):
    torch.save({name: part.state_dict() for name, part in parts.items()}, path)


def engines(output_dir, max_epochs=2, handlers=(), **options):
    network = Oracle()
    loader = DataLoader([{"image": p, "label": t} for p, t in zip(PREDICTION, TRUTH)], batch_size=2)
    dice = IgniteMetricHandler(
        metric_fn=DiceMetric(include_background=False),
        output_transform=lambda items: (
            [item["pred"] for item in items],
            [one_hot(item["label"], 3, dim=0) for item in items],
        ),
    )
    evaluator = SupervisedEvaluator("cpu", loader, network, key_val_metric={"val_mean_dice": dice})
    best = BestModel(network, output_dir / "model.pt")
    best.attach(evaluator)
    report = ReportHandler(output_dir, evaluator, metrics={"Dice": "val_mean_dice"}, **options)
    trainer = SupervisedTrainer(
        "cpu",
        max_epochs,
        loader,
        network,
        torch.optim.SGD(network.parameters(), lr=0.0),
        lambda pred, target: pred.mean(),
        train_handlers=[ValidationHandler(1, evaluator), report, *handlers],
    )
    return trainer, evaluator, {"trainer": trainer, "best": best, "report": report}


ROWS = {"organ": pytest.approx(5 / 6), "vessel": 0.0, "mean": pytest.approx(5 / 12)}


@pytest.mark.parametrize("names", [NAMES, NAMES[1:]])
def test_figures_are_the_best_epochs_means_over_cases(tmp_path, capsys, names):
    engines(tmp_path, class_names=names)[0].run()
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["best_epoch"] == 1 and content["validation"] == {"Dice": ROWS}
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["organ", "0.833"] in lines and ["vessel", "0.000"] in lines and ["mean", "0.417"] in lines


def test_a_class_in_no_case_is_null_and_out_of_the_mean(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(f"{__name__}.TRUTH", TRUTH.clamp(max=1))
    engines(tmp_path)[0].run()
    figures = json.loads((tmp_path / "report.json").read_text())["validation"]["Dice"]
    assert figures == {"class 1": pytest.approx((1 / 2 + 1) / 2), "class 2": None, "mean": pytest.approx(3 / 4)}
    assert ["class", "2", "–"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_figures_of_each_case(tmp_path):
    engines(tmp_path)[0].run()
    cases = json.loads((tmp_path / "report.json").read_text())["cases"]["Dice"]
    assert cases == [[pytest.approx(2 / 3), 0.0], [1.0, None]]


def test_diagnostics_and_advice(tmp_path, capsys):
    diagnostics = PseudoLabelDiagnostics()
    diagnostics.load_state_dict({"figures": {"pseudo_label_change": 0.25}, "missing": [2], "most_changed": 0.25})
    engines(tmp_path, diagnostics=diagnostics, outlook="twice as good")[0].run()
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["last_epoch"] == {"pseudo_label_change": 0.25} and "classes [2]" in content["advice"]
    lines = capsys.readouterr().out.splitlines()
    assert "last epoch: pseudo_label_change 0.250" in lines and f"advice: {content['advice']}" in lines
    assert content["outlook"] == "twice as good" and "longer: twice as good" in lines


def test_a_figure_without_background_beside_one_with(tmp_path, capsys):
    report = ReportHandler(tmp_path)
    report.best = {"epoch": 1, "figures": {"IoU": {"sky": 0.5, "road": 0.25, "mean": 0.375}, "Dice": {"road": 0.4}}}
    report(None)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["sky", "0.500", "–"] in lines and ["road", "0.250", "0.400"] in lines


def test_files_that_exist_are_listed(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    for name in ("checkpoints/2.pt", "checkpoints/1.pt"):
        (tmp_path / name).touch()
    engines(tmp_path)[0].run()
    out = capsys.readouterr().out
    assert f"best model: {tmp_path}/model.pt" in out
    assert f"checkpoints: {tmp_path}/checkpoints/1.pt, {tmp_path}/checkpoints/2.pt" in out
    assert "pictures" not in out and json.loads((tmp_path / "report.json").read_text())["files"]["pictures"] == []


def test_a_finished_run_started_again_reports_again(tmp_path, capsys):
    trainer, _, parts = engines(tmp_path, class_names=NAMES)
    trainer.run()
    first, written = capsys.readouterr().out, (tmp_path / "report.json").read_text()
    save(tmp_path / "last.pt", parts)
    (tmp_path / "report.json").unlink()

    trainer, evaluator, parts = engines(tmp_path, class_names=NAMES)
    CheckpointLoader(str(tmp_path / "last.pt"), parts).attach(trainer)
    trainer.run()
    assert capsys.readouterr().out == first and (tmp_path / "report.json").read_text() == written
    assert trainer.network.calls == 0


def test_a_resumed_run_has_to_beat_the_old_best(tmp_path):
    trainer, _, parts = engines(tmp_path, max_epochs=1, class_names=NAMES)
    trainer.run()
    save(tmp_path / "last.pt", parts)

    trainer, evaluator, parts = engines(tmp_path, max_epochs=2, class_names=NAMES)
    trainer.network.calls = 1  # from now on worse
    CheckpointLoader(str(tmp_path / "last.pt"), parts).attach(trainer)
    trainer.run()
    assert trainer.network.calls == 2
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["best_epoch"] == 1 and content["validation"] == {"Dice": ROWS}


def test_an_evaluator_alone_reports_too(tmp_path, capsys):
    _, evaluator, _ = engines(tmp_path / "training", class_names=NAMES)
    ReportHandler(tmp_path, class_names=NAMES, metrics={"Dice": "val_mean_dice"}).attach(evaluator)
    evaluator.run()
    assert json.loads((tmp_path / "report.json").read_text())["validation"] == {"Dice": ROWS}


def test_without_validation_it_says_so(tmp_path, capsys):
    trainer, evaluator, parts = engines(tmp_path)
    parts["report"](trainer)
    assert "No validation was run." in capsys.readouterr().out
    evaluator.state.iteration = 2  # it ran, and no epoch was the best
    parts["report"](trainer)
    assert "Validation had nothing to measure" in capsys.readouterr().out


def test_a_wrong_number_of_names_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="expected names of 2 classes, with or without background, got"):
        engines(tmp_path, class_names=["organ"])[0].run()


def test_agreement_on_strokes_is_no_score_of_masks(tmp_path, capsys):
    trainer, _, parts = engines(tmp_path, validated_on="strokes")
    parts["report"].metrics = {"Dice": "val_mean_dice", "HD95 (mm)": "val_hd95"}  # which needs masks
    trainer.run()
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["validated_on"] == "strokes" and list(content["validation"]) == ["Dice"]
    printed = capsys.readouterr().out
    assert "Agreement on strokes (the strokes' voxels alone, no score of masks), best epoch 1" in printed
    assert "HD95" not in printed


def test_no_validation_is_said_plainly(tmp_path, capsys):
    report = ReportHandler(tmp_path, engines(tmp_path)[1], validated_on="nothing")
    report(None)
    content = json.loads((tmp_path / "report.json").read_text())
    assert (content["validated_on"], content["best_epoch"], content["validation"]) == ("nothing", None, {})
    assert "the model is that of the last epoch" in capsys.readouterr().out


def test_last_model(tmp_path):
    """Of every epoch, so that the file is there whenever training is stopped."""
    network = nn.Linear(1, 1)
    trainer = Engine(lambda engine, batch: network.weight.data.fill_(engine.state.epoch))
    LastModel(network, tmp_path / "model.pt", {"bundle": "scribble"}).attach(trainer)
    weights = []
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: weights.append(torch.load(tmp_path / "model.pt")["weight"].item())
    )
    trainer.run([0], max_epochs=3)
    assert weights == [1, 2, 3]
    assert json.loads((tmp_path / "settings.json").read_text()) == {"bundle": "scribble"}


def test_the_best_figures_go_on_under_the_present_names(tmp_path, capsys):
    nan = float("nan")
    saved = {"epoch": 3, "figures": {"Dice": {"old": 0.5, "mean": 0.5}}, "cases": {"Dice": [[0.25, nan], [0.75, 0.5]]}}
    report = ReportHandler(tmp_path, class_names=["background", "liver", 2024])
    report.load_state_dict(saved)
    assert report.best["figures"] == {"Dice": {"liver": 0.5, "2024": 0.5, "mean": 0.5}}
    report(None)
    assert "2024" in capsys.readouterr().out
