# SPDX-License-Identifier: Apache-2.0
"""Every rival trains in both bundles, with the loss, neighbourhood and labels that its overlay promises."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from monai.bundle import ConfigParser

from medwsss.keys import VOID
from medwsss.losses import (
    MixedLabelLoss,
    MumfordShahLoss,
    NormalizedCutLoss,
    RegularizedLoss,
    SelfLabelingLoss,
    TotalVariationLoss,
    TreeEnergyLoss,
)
from medwsss.terms import DenseNeighborhood, GridNeighborhood, WindowNeighborhood
from medwsss.terms.cross_entropies import robust_cross_entropy
from tests.bundles import bundle
from tests.bundles import photographs as photographs_bundle

#: Overlay → loss, neighbourhood, and whether there are pseudo-labels.
RIVALS = {
    "dense_crf": (RegularizedLoss, DenseNeighborhood, False),
    "dice_self_labeling": (SelfLabelingLoss, GridNeighborhood, True),
    "entropy": (RegularizedLoss, GridNeighborhood, False),
    "gated_crf": (RegularizedLoss, WindowNeighborhood, False),
    "hard": (SelfLabelingLoss, GridNeighborhood, True),
    "hard_dense": (SelfLabelingLoss, DenseNeighborhood, True),
    "kernel_cut": (NormalizedCutLoss, DenseNeighborhood, False),
    "mean_teacher": (SelfLabelingLoss, GridNeighborhood, True),
    "mixed_labels": (MixedLabelLoss, GridNeighborhood, True),
    "mumford_shah": (MumfordShahLoss, GridNeighborhood, False),
    "normalized_cut": (NormalizedCutLoss, DenseNeighborhood, False),
    "partial_dice": (SelfLabelingLoss, GridNeighborhood, False),
    "soft_dense": (SelfLabelingLoss, DenseNeighborhood, True),
    "total_variation": (TotalVariationLoss, GridNeighborhood, False),
    "tree_energy": (TreeEnergyLoss, GridNeighborhood, False),
    "uncertain_teacher": (SelfLabelingLoss, GridNeighborhood, True),
}
#: Two steps of a slice network; nothing is checked, validated, drawn or saved, which other tests see to.
BARE = {
    "patch_size": [16, 16],
    "epochs": 1,
    "batch_size": 2,
    "device": "cpu",
    "amp": False,
    "spacing": [1.0, 2.0],
    "cache_rate": 0.0,
    "train#trainer#train_handlers": "$[@pseudo_labels]",
    "network_def#channels": [4, 8],
    "network_def#strides": [2],
}


@pytest.fixture(scope="module")
def bases():
    """Both bundles' configurations with what they share in place, as it takes seconds to find it."""
    found = {}
    for where, names in ((bundle, ["train"]), (photographs_bundle, ["train", "small"])):
        parser = ConfigParser()
        parser.read_config(where.config(*names))
        parser.resolve_macro_and_relative_ids()
        found[where] = parser.get()
    return found


def parsed(bases, where, name, changes):
    parser = ConfigParser(copy.deepcopy(bases[where]))
    parser.update({**where.read(name), **changes})
    return parser


@pytest.mark.parametrize("where", [bundle, photographs_bundle], ids=["volumes", "photographs"])
@pytest.mark.parametrize("name", RIVALS)
def test_two_steps(bases, study, photographs, tmp_path, name, where):
    loss, neighborhood, labels = RIVALS[name]
    volumes = where is bundle
    changes = {"dataset_dir": str(study if volumes else photographs), "output_dir": str(tmp_path)}
    changes |= {"spatial_dims": 2, "samples_per_volume": 2} if volumes else {"num_classes": 2}
    if labels:
        changes |= {"warmup_epochs": 0, "solver_steps": 2}
    if not volumes and neighborhood is DenseNeighborhood:
        changes["bandwidth"] = 60.0  # these images are noise, which takes many cells
    bare = BARE
    if name == "mixed_labels":  # the network that has a second decoder
        bare = {key.replace("network_def", "network_def#network"): value for key, value in BARE.items()}
        changes["network_def"] = {**where.read(name)["network_def"], "network": bases[where]["network_def"]}
    parser = parsed(bases, where, name, {**changes, **bare})
    torch.manual_seed(0)
    trainer, network = map(parser.get_parsed_content, ("train#trainer", "network"))
    before = [p.detach().clone() for p in network.parameters()]
    trainer.run()
    assert trainer.state.iteration >= 2
    handler = parser.get_parsed_content("pseudo_labels")
    handler.load_state_dict(handler.state_dict())  # as checkpoints do
    assert isinstance(trainer.loss_function, loss)
    assert isinstance(parser.get_parsed_content("neighborhood"), neighborhood)
    output = trainer.state.output[0]
    assert ("pseudo_label" in output["label"]) == labels
    assert math.isfinite(output["loss"]) and all(p.isfinite().all() for p in network.parameters())
    assert any((p != q).any() for p, q in zip(network.parameters(), before))
    if name.startswith("hard"):
        assert ((output["label"]["pseudo_label"].amax(0) == 1) | (output["label"]["scribble"][0] == VOID)).all()
        assert trainer.loss_function.cross_entropy is robust_cross_entropy


def test_weights_of_dense_crfs_are_the_published_ones(bases):
    """2e-9 of the sum over ordered pairs of 256 x 256 pixels; ours is over unordered ones, divided by the pixels."""
    for where in bases:
        for name in ("dense_crf", "kernel_cut"):
            read = parsed(bases, where, name, {"patch_size": [256, 256], "spacing": None}).get_parsed_content
            lam = read("lam") if name == "dense_crf" else read("lam") * read("loss").lam
            assert lam == pytest.approx(2 * 2e-9 * 256**2, rel=0.02)
            assert read("neighborhood").spatial_bandwidth == pytest.approx(51.2)
