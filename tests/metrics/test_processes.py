# SPDX-License-Identifier: Apache-2.0
"""Two processes with an unequal share of the cases come to the numbers that one process finds."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from medwsss import metrics
from tests.toy_training import processes

KINDS = {
    "dice": lambda: metrics.ClassDiceMetric(3),
    "iou": lambda: metrics.ClassIoUMetric(3),
    "hd95": lambda: metrics.ClassHausdorffMetric(3),
    "assd": lambda: metrics.ClassSurfaceDistanceMetric(3),
    "surface dice": lambda: metrics.ClassSurfaceDiceMetric(3, tolerance=1.0),
    "contour": lambda: metrics.ContourFMetric(3),
    "contour of all": lambda: metrics.ContourFMetric(3, accumulate="global"),
    "region and contour": lambda: metrics.RegionAndContourMetric(3),
    "mean iou": lambda: metrics.MeanIoUMetric(3),
    "calibration": lambda: metrics.CalibrationMetric(5),
}
ORDER = [0, 2, 1]  # of cases, as processes are gathered: the first has two of the three


def measure(name, cases):
    metric = KINDS[name]()
    for seed in cases:
        generator = torch.Generator().manual_seed(seed)
        pred, truth = (torch.randint(3 - (seed == 1), (1, 9, 8), generator=generator) for _ in range(2))
        probabilities = torch.rand(3, 9, 8, generator=generator).softmax(0)
        metric([probabilities if name == "calibration" else pred], [truth])
    return metric.get_buffer(), metric.aggregate()


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save({name: measure(name, range(3)[rank::2]) for name in KINDS}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path):
    workers = [processes.Process(target=one_of_two, args=(rank, tmp_path)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    for found in (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)):
        for name in KINDS:
            buffer, mean = measure(name, ORDER)
            assert torch.equal(found[name][0].nan_to_num(-1), buffer.nan_to_num(-1)), name
            assert torch.equal(found[name][1], mean), name
            assert measure(name, range(3))[1].item() == pytest.approx(mean.item(), rel=1e-6)  # in the list's order
