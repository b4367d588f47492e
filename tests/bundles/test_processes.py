# SPDX-License-Identifier: Apache-2.0
"""Two processes train as one does with twice the batch."""

from __future__ import annotations

import json

import pytest
import torch
import torch.distributed as dist
from monai.networks.nets import UNet
from torch.nn.parallel import DistributedDataParallel

from medwsss.keys import GUIDE, PSEUDO_LABEL, SCRIBBLE, TAGS, UNLABELED, VOID
from medwsss.losses import (
    FeatureSimilarityLoss,
    ImportanceSamplingLoss,
    PartialCrossEntropyLoss,
    RegularizedLoss,
    SelfLabelingLoss,
    SumLoss,
)
from medwsss.terms import GridNeighborhood
from tests.bundles.bundle import command, words_of
from tests.toy_training import Typed, free_port, processes

LOSSES = {
    "seeds": PartialCrossEntropyLoss,
    "self-labeling": SelfLabelingLoss,
    "sums": lambda: SelfLabelingLoss(class_balance=0.5, normalization="sums"),
    "regularized": lambda: RegularizedLoss(neighborhood=GridNeighborhood(bandwidth=0.3), lam=2.0),
    "regularized sums": lambda: RegularizedLoss(
        neighborhood=GridNeighborhood(bandwidth=0.3), lam=2.0, normalization="sums"
    ),
    "tags": lambda: SumLoss({"isl": ImportanceSamplingLoss(samples=None), "fsl": FeatureSimilarityLoss(sigma=1.0)}),
}


def batch():
    """Two samples: one with a single seed and much void, one with 40 seeds; one of all tags known, one of one."""
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(2, 1, 8, 8, generator=generator)
    scribble = torch.full((2, 1, 8, 8), UNLABELED)
    scribble[0, :, 3, 3] = 2
    scribble[0, :, 5:] = VOID
    scribble[1, :, :5] = torch.randint(0, 3, (1, 5, 8), generator=generator)
    y = torch.rand(2, 3, 8, 8, generator=generator).softmax(1)
    tags = torch.tensor([[1.0, 0.0, 1.0], [torch.nan, 1.0, torch.nan]])
    return image, {SCRIBBLE: scribble, GUIDE: image, PSEUDO_LABEL: y, TAGS: tags}


def make_network():
    torch.manual_seed(0)
    return UNet(2, in_channels=1, out_channels=3, channels=(4, 8), strides=(2,))  # instance norm


def step(loss, wrap, samples):
    """Parameters after one step on some of the samples."""
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    image, target = batch()
    wrapped = wrap(network)  # gradients are averaged for as long as the wrapper lives
    LOSSES[loss]()(wrapped(image[samples]), {key: value[samples] for key, value in target.items()}).backward()
    optimizer.step()
    return network.state_dict()


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for loss in LOSSES:
        state = step(loss, DistributedDataParallel, slice(rank, rank + 1))
        torch.save(state, folder / f"{loss}_{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_one_step_equals_that_of_one_process(tmp_path):
    both = [processes.Process(target=one_of_two, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    start = make_network().state_dict()
    for loss in LOSSES:
        expected = step(loss, lambda network: network, slice(None))
        states = [torch.load(tmp_path / f"{loss}_{rank}.pt", weights_only=True) for rank in (0, 1)]
        for name, value in expected.items():
            torch.testing.assert_close(states[0][name], value, rtol=1e-4, atol=1e-6, msg=f"{loss}: {name}")
            assert torch.equal(states[0][name], states[1][name])
        moved = max((value - start[name]).abs().max() for name, value in expected.items())
        assert moved > 1e-2


def ranks(*arguments, **options):
    """Two processes as the launcher starts them: what they printed."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": 2}
    words = words_of(*arguments, **options)
    return [Typed(words, **place, RANK=rank, LOCAL_RANK=rank) for rank in (0, 1)]


def launched(*arguments, **options):
    """The launcher itself."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return [command(*arguments, launcher=launcher, **options)]


@pytest.mark.slow
@pytest.mark.parametrize("start", [ranks, pytest.param(launched, marks=pytest.mark.longest)])
def test_the_overlay_trains_on_two(study, tmp_path, start):
    """Every process sees its half of the data, one of them writes."""
    output, printed = tmp_path / "out", ""
    for process in start(study, output, "train", "multi_gpu_train", batch_size=1):
        text, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
        printed += text
    assert printed.count("Validation, best epoch") == 1  # rank 0's report, no one else's
    assert printed.count("3 items") == 1
    report = json.loads((output / "report.json").read_text())
    assert len(report["validation"]["Dice"]) == 5
    state = torch.load(output / "model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in state)
    checkpoint = torch.load(output / "checkpoints" / "checkpoint_epoch=2.pt", weights_only=True)
    # six cases an epoch, three for each process, two epochs
    assert checkpoint["trainer"]["epoch_length"] == 3 and checkpoint["lr_scheduler"]["last_epoch"] == 6
