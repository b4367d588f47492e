# SPDX-License-Identifier: Apache-2.0
"""From tags to a segmentation on a GPU: ResNet-50 at stride 8 for activation maps, then DeepLabV3+ by self-labeling.

    python -m tests.benchmarks.tags_gpu [--data LIST.json] [--weights resnet50.pth]

One row a method: average pooling (``gap``), importance sampling (``isl``), feature similarity (``fsl``), and both
(``isl_fsl``). Each trains on tags for ``--steps`` steps of a stock trainer in mixed precision; then a second network
trains as long on the seeds and priors that the maps of the first one give, with pseudo-labels after a tenth of it.
Steps are timed in their second half, without what draws batches and makes seeds. Maps are judged at the fixed
background score of 0.25, with the tags that the network predicts; the best score on masks stands beside as an oracle.
All images lie on the GPU, each resized to ``--size``², and peak memory counts them; the default data are scenes that
it makes. Networks start at random unless a file of ImageNet weights is given.

Writes ``output/benchmarks/tags_gpu.json`` and ``.md`` after every row. Without a CUDA device it says so; ``--small``
runs the same on the CPU with a small network and small scenes, to prove the script.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.transforms import Compose, Lambdad, LoadImaged, Resized
from torch import Tensor, nn

from data_prep.scenes import make_scenes
from medwsss.engines import PrepareWeakBatch
from medwsss.handlers import PseudoLabelHandler
from medwsss.inferers import MultiScaleInferer
from medwsss.keys import GUIDE, IMAGE, LABEL, PRED, PRIOR, SCRIBBLE, TAGS, UNLABELED
from medwsss.losses import FeatureSimilarityLoss, ImportanceSamplingLoss, SelfLabelingLoss, SumLoss
from medwsss.metrics import BackgroundSweepMetric, ContourFMetric, MeanIoUMetric, TagAUCMetric
from medwsss.networks import DeepLabV3Plus, ScoreMaps, load_imagenet_weights
from medwsss.solvers import NaturalGradient
from medwsss.study import label_mapper, load_tagged, tag_schema
from medwsss.study.readers import StudyReader
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.transforms import CamToLabeld, CamToSeedsd, ScoresToCamd
from tests.benchmarks.report import OUTPUT, StepClock, machine, save, table

#: λ of importance sampling, and the weight of feature similarity
METHODS = {"gap": (0.0, 0.0), "isl": (0.2, 0.0), "fsl": (0.0, 1.0), "isl_fsl": (0.2, 1.0)}
MEAN, STD = (torch.tensor(x).reshape(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
CHANNELS = {"resnet50": 2048, "mobilenet_v2": 320}  # of a backbone's last features
EPOCHS = 10  # that steps are counted in; the first is warm-up
COLUMNS = {
    "method": "method",
    "seconds": "seconds a step on tags",
    "peak_gib": "peak, GiB",
    "tag_auc": "tag AUC",
    "cam_iou": "CAM mIoU",
    "cam_f": "CAM contour F",
    "oracle_iou": "oracle mIoU",
    "seeds": "seeds, share",
    "final_seconds": "seconds a step of self-labeling",
    "final_peak_gib": "peak, GiB",
    "final_iou": "final mIoU",
    "final_f": "final contour F",
}

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Job:
    """What all methods share."""

    data: Path
    backbone: str
    size: int
    batch: int
    steps: int
    learning_rate: float
    sigma: float
    weights: Path | None
    device: str


def read(job: Job, section: str) -> Batch:
    """A section, on the device: images ``N 3 *S`` in [0, 1], tags ``N C``, and masks for validation alone."""
    items = load_tagged(job.data, section)
    keys = [IMAGE, LABEL] if section == "validation" else [IMAGE]
    load = Compose(
        [
            LoadImaged(keys, reader=StudyReader, ensure_channel_first=True),
            Lambdad(LABEL, label_mapper(job.data), allow_missing_keys=True),
            Resized(keys, [job.size] * 2, mode=["area", "nearest-exact"][: len(keys)]),
        ]
    )
    cases = [load({key: item[key] for key in keys}) for item in items]
    data = {key: torch.stack([case[key].as_tensor() for case in cases]) for key in keys}
    data[IMAGE] = data[IMAGE].float() / 255
    data[TAGS] = torch.tensor([item[TAGS] for item in items])
    return {key: x.to(job.device) for key, x in data.items()}


def normalized(image: Tensor) -> Tensor:
    """As networks on ImageNet know images."""
    return (image - MEAN.to(image.device)) / STD.to(image.device)


class Batches:
    """An epoch of random batches, mirrored at random, which goes on where the last one ended: a trainer's loader."""

    def __init__(self, data: Batch, job: Job, seeds: Callable[[Batch], Batch] | None = None) -> None:
        self.data, self.job, self.seeds = data, job, seeds
        self.lot = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return max(1, self.job.steps // EPOCHS)

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(len(self)):
            chosen = torch.randint(len(self.data[IMAGE]), (self.job.batch,), generator=self.lot)
            guide = self.data[IMAGE][chosen]
            if torch.rand((), generator=self.lot) < 0.5:
                guide = guide.flip(3)
            blank = torch.full_like(guide[:, :1], UNLABELED, dtype=torch.uint8)
            batch = {IMAGE: normalized(guide), GUIDE: guide, SCRIBBLE: blank, TAGS: self.data[TAGS][chosen]}
            yield batch if self.seeds is None else batch | self.seeds(batch)


def train(network: nn.Module, loss: nn.Module, batches: Batches, *handlers: Any) -> StepClock:
    """Train it by a stock trainer."""
    job = batches.job
    clock = StepClock(skip=EPOCHS * len(batches) // 2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=job.learning_rate)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, EPOCHS * len(batches), 0.9)
    SupervisedTrainer(
        device=torch.device(job.device),
        max_epochs=EPOCHS,
        train_data_loader=batches,
        network=network.train(),
        optimizer=optimizer,
        loss_function=loss,
        prepare_batch=PrepareWeakBatch(),
        amp=job.device == "cuda",
        train_handlers=[clock, *handlers, LrScheduleHandler(schedule, print_lr=False, epoch_level=False)],
        decollate=False,
    ).run()
    network.eval()
    return clock


def encoder(job: Job, num_classes: int) -> DeepLabV3Plus:
    """DeepLabV3+ at stride 8, whose backbone is an encoder, too."""
    network = DeepLabV3Plus(2, 3, num_classes, job.backbone, output_stride=8)
    if job.weights is not None:
        print(load_imagenet_weights(network, job.weights))
    return network


@torch.no_grad()
def judge(network: nn.Module, data: Batch, num_classes: int, maps: Compose | None = None) -> dict[str, float]:
    """On validation: labels by ``maps`` of a network for tags, or those of a segmentation network itself."""
    iou, contour = MeanIoUMetric(num_classes), ContourFMetric(num_classes, accumulate="global")
    auc, oracle = TagAUCMetric(), BackgroundSweepMetric(num_classes)
    views = MultiScaleInferer(softmax=maps is None)
    for image, label, tags in zip(data[IMAGE], data[LABEL], data[TAGS]):
        pred = views(normalized(image[None]), network)[0]
        case = {PRED: pred.argmax(0, keepdim=True)} if maps is None else maps({PRED: pred})
        for metric in (iou, contour):
            metric([case[PRED].cpu()], [label.cpu()])
        if maps is not None:
            auc([case["tag_scores"]], [tags])
            oracle([case["cam"]], [label])
    if maps is None:
        return {"final_iou": iou.aggregate().item(), "final_f": contour.aggregate().item()}
    return {
        "tag_auc": auc.aggregate().item(),
        "cam_iou": iou.aggregate().item(),
        "cam_f": contour.aggregate().item(),
        "oracle_iou": oracle.aggregate().item(),
    }


def measure(method: str, job: Job, training: Batch, validation: Batch) -> dict[str, Any]:
    """Both trainings of a method."""
    torch.manual_seed(0)
    schema = tag_schema(job.data)
    num_classes = len(schema) + schema.background
    weight, similarity = METHODS[method]
    loss = SumLoss(
        {"tags": ImportanceSamplingLoss(weight), "feature_similarity": FeatureSimilarityLoss(sigma=job.sigma)},
        {"feature_similarity": similarity},
    )
    cam_network = ScoreMaps(encoder(job, 1).backbone, CHANNELS[job.backbone], len(schema), dropout=0.2).to(job.device)
    clock = train(cam_network, loss, Batches(training, job))
    row: dict[str, Any] = {"method": method, "seconds": clock.seconds, "peak_gib": clock.peak_gib}
    row |= judge(
        cam_network, validation, num_classes, Compose([ScoresToCamd(), CamToLabeld(background=schema.background)])
    )

    of_maps = Compose([ScoresToCamd(use_tags=True), CamToSeedsd(background=schema.background)])

    @torch.no_grad()
    def seeds(batch: Batch) -> Batch:
        scores = MultiScaleInferer(softmax=False)(batch[IMAGE], cam_network)
        cases = [of_maps({PRED: each, TAGS: tags}) for each, tags in zip(scores, batch[TAGS])]
        return {key: torch.stack([case[key] for case in cases]) for key in (SCRIBBLE, PRIOR)}

    batches = Batches(training, job, seeds)
    neighborhood = GridNeighborhood(bandwidth=20 / 255)
    energy = SelfLabelingEnergy(relaxation="log_quadratic", neighborhood=neighborhood, eta=0.005, lam=6.0)
    labeling = PseudoLabelHandler(NaturalGradient(energy, max_steps=30), warmup_epochs=1)
    network = encoder(job, num_classes).to(job.device)
    clock = train(network, SelfLabelingLoss(eta=1.0), batches, labeling)
    row |= {"final_seconds": clock.seconds, "final_peak_gib": clock.peak_gib}
    row["seeds"] = (next(iter(batches))[SCRIBBLE] != UNLABELED).float().mean().item()
    return row | judge(network, validation, num_classes)


def main() -> None:
    """Measure, write, print; without a CUDA device, say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="data list of images with tags (default: scenes, made if absent)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--weights", type=Path, help="ImageNet weights of ResNet-50, for both networks")
    parser.add_argument("--steps", type=int, default=600, help="of each training (default: %(default)s)")
    parser.add_argument("--size", type=int, default=320, help="of images (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="images of a step (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="(default: %(default)s)")
    parser.add_argument("--sigma", type=float, default=3.0, help="σ of FSL in cells of maps (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="MobileNetV2, ten steps on scenes of 48² on the CPU")
    options = parser.parse_args()
    if not options.small and not torch.cuda.is_available():
        print("No CUDA device here: nothing to measure. --small runs on the CPU.")
        return
    if options.small:
        options.size, options.batch, options.steps = 48, 2, EPOCHS
    counts = (12, 4) if options.small else (400, 100)
    data, folder = options.data, OUTPUT / f"scenes_{options.size}"
    if data is None:
        data = folder / "dataset.json"
        if not data.exists():
            make_scenes(folder, *counts, size=options.size, workers=os.cpu_count() or 1)
    job = Job(
        data,
        "mobilenet_v2" if options.small else "resnet50",
        options.size,
        options.batch,
        options.steps,
        options.learning_rate,
        options.sigma,
        options.weights,
        "cpu" if options.small else "cuda",
    )
    training, validation = read(job, "training"), read(job, "validation")
    rows: list[dict[str, Any]] = []
    for method in options.methods:
        rows.append(measure(method, job, training, validation))
        report = {"machine": machine(), "job": {key: str(value) for key, value in vars(job).items()}, "rows": rows}
        text = save("tags_small" if options.small else "tags_gpu", report, table(rows, COLUMNS))
        print(text if method == options.methods[-1] else rows[-1], flush=True)


if __name__ == "__main__":
    main()
