# SPDX-License-Identifier: Apache-2.0
"""What an evaluation leaves behind: the same from one process and from two, and a page that needs nothing else."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import torch.distributed as dist
from monai.data import DataLoader, Dataset, DistributedSampler, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from torch.utils.tensorboard import SummaryWriter

from medwsss.handlers import EvaluationReport, evaluation_metrics
from medwsss.metrics import MeanIoUMetric
from tests.toy_training import processes

NAMES = ["background", "organ", "<vessel>"]
FIGURES = {
    "mIoU": "val_mean_iou",
    "Dice": "val_dice",
    "J": "val_iou",
    "HD95 (mm)": "val_hd95",
    "ASSD (mm)": "val_assd",
    "surface Dice": "val_surface_dice",
    "contour F": "val_contour_f",
    "J&F": "val_j_and_f",
}
PATIENTS = {f"study/p{i}_frame{j}.nii.gz": f"p{i}" for i in (1, 2) for j in (1, 2)} | {"study/p3.nii.gz": "p3"}


def cases():
    """Logits and truths that have less in common from case to case, as files in a space of their own."""
    items = []
    for i, name in enumerate(reversed(PATIENTS)):
        generator = torch.Generator().manual_seed(i)
        coarse = torch.randn(1, 3, 3, 3, 2, generator=generator)
        logits = 4 * torch.nn.functional.interpolate(coarse, (8, 7, 4), mode="trilinear")[0]
        truth = (logits + i * torch.randn(logits.shape, generator=generator)).argmax(0, keepdim=True)
        truth[:, 0] = 254
        affine = torch.diag(torch.tensor([1.5, 1.5, 4.0, 1.0]))
        affine[:3, 3] = torch.tensor([-20.0, 5, 7])
        meta = {"filename_or_obj": name, "placed": True, "unit": "mm"}
        items.append({"image": MetaTensor(logits, affine=affine, meta=meta), "label": MetaTensor(truth, affine=affine)})
    return items


def evaluate(folder, sampler=False, **options):
    """An evaluation by a network that knows: its input are logits."""
    data = Dataset(cases())
    report = EvaluationReport(folder, NAMES, FIGURES, patients=PATIENTS, **options)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(
            data,
            batch_size=1,
            sampler=DistributedSampler(data, even_divisible=False, shuffle=False) if sampler else None,
        ),
        network=torch.nn.Identity(),
        postprocessing=lambda item: {
            **item,
            "probability": item["pred"].softmax(0),
            "pred": item["pred"].argmax(0, keepdim=True),
        },
        key_val_metric={
            "val_mean_iou": IgniteMetricHandler(
                metric_fn=MeanIoUMetric(3), output_transform=from_engine(["pred", "label"])
            )
        },
        additional_metrics=evaluation_metrics(3),
        val_handlers=[report],
    )
    evaluator.run()
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for step in (1, 2):
            writer.add_scalar("train_loss", 1 / step, step)
    return evaluate(
        folder, tensorboard=folder / "tensorboard", data="5 items", notes="At 2 mm.", setting={"lam": 6.0, "x": "$1"}
    )


def read(folder):
    with open(folder / "cases.csv") as file:
        return list(csv.DictReader(file)), json.loads((folder / "summary.json").read_text())


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    evaluate(folder / "out", sampler=True)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves(evaluated, tmp_path):
    workers = [processes.Process(target=one_of_two, args=(rank, tmp_path)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    (rows, summary), (expected, of_one) = read(tmp_path / "out"), read(evaluated)
    assert rows == expected
    for name in ("figures", "calibration", "cases", "patients"):
        assert summary[name] == of_one[name]


def test_figures_of_cases_and_patients(evaluated):
    rows, summary = read(evaluated)
    assert [row["case"] for row in rows[::2]] == sorted(path.split("/")[1] for path in PATIENTS)
    assert list(rows[0]) == ["case", "patient", "class", *list(FIGURES)[1:]]  # mIoU is not one of cases
    assert (summary["cases"], summary["patients"]) == (5, 3)
    of = {row["case"]: float(row["Dice"]) for row in rows if row["class"] == "organ"}
    organ = next(row for row in summary["figures"] if (row["figure"], row["class"]) == ("Dice", "organ"))
    by_patient = [np.mean([of[f"p{i}_frame{j}.nii.gz"] for j in (1, 2)]) for i in (1, 2)] + [of["p3.nii.gz"]]
    assert organ["mean"] == pytest.approx(np.mean(by_patient)) and organ["low"] < organ["mean"] < organ["high"]
    assert {row["patients"] for row in summary["figures"]} == {3}


def test_bins_add_up_to_the_error(evaluated):
    calibration = read(evaluated)[1]["calibration"]
    for row in calibration:
        voxels, confidence, right = np.array(row["bins"])
        assert row["mean"] == pytest.approx(abs(confidence - right).sum() / voxels.sum())
        assert row["low"] <= row["mean"] <= row["high"]
    assert [row["voxels"] for row in calibration] == ["all voxels", "foreground"]
    assert sum(calibration[0]["bins"][0]) == 5 * 7 * 7 * 4 > sum(calibration[1]["bins"][0])  # void left out


class Page(HTMLParser):
    """Elements that are open, and every attribute there is."""

    VOID_TAGS = {"meta", "input", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page(evaluated):
    text = (evaluated / "report.html").read_text()
    page = Page(text)
    of = {tag: [attributes for name, attributes in page.elements if name == tag] for tag, _ in page.elements}
    assert "script" not in of and "link" not in of
    for attributes in of["image"] + of.get("img", []):
        assert attributes["href"].startswith("data:")
    assert not re.search(r"url\((?!#)", text) and "default-src 'none'" in text
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in of["svg"])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [attributes["id"] for attributes in of["input"]] == [
        *("show-prediction", "show-truth", "show-error", "show-class-1", "show-class-2")
    ]
    for said in (
        "5 cases of 3 patients",
        "Worst case 1: ",
        "Median case: ",
        "Best case: ",
        "At 2 mm.",
        "5 items",
        "too narrow",
    ):
        assert said in page.text
    assert "<vessel>" in page.text and "lam" in page.text and "$1" not in page.text
    assert page.text.index("Worst case 1") < page.text.index("Worst case 2") < page.text.index("Median case")
    assert {"R", "L", "A", "P"} == set(re.findall(r">(\w)</text>", text))
    assert "train loss: from 1 to 0.5 in 2 values" in text
    assert not (evaluated / ".slices").exists()


def test_of_strokes(tmp_path):
    """Agreement with strokes is not called a score of masks."""
    evaluate(tmp_path, validated_on="strokes")
    text = (tmp_path / "report.html").read_text()
    assert "agreement with strokes, no scores of masks" in text and 'id="show-scribble"' in text
    assert 'id="show-truth"' not in text


def test_a_key_that_is_no_figure(tmp_path):
    with pytest.raises(ValueError, match="expected a key figure among .*, got 'dice'"):
        EvaluationReport(tmp_path, NAMES, FIGURES, key="dice")
