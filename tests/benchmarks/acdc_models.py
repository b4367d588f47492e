# SPDX-License-Identifier: Apache-2.0
"""What trained 2-D networks say about ACDC's volumes, for the benchmarks that look closer at them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from monai.bundle import ConfigParser
from monai.inferers import SliceInferer
from monai.transforms import LoadImage, ScaleIntensityRangePercentiles
from torch import Tensor
from tqdm import tqdm

from medwsss.transforms import MapWeakLabels

__all__ = ["Case", "cases", "load_network"]


class Case(NamedTuple):
    """Of one volume, each with batch and channel axes."""

    logits: Tensor
    guide: Tensor
    scribble: Tensor
    truth: Tensor
    spacing: list[float]


def load_network(weights: Path) -> torch.nn.Module:
    """The bundle's U-Net for ``acdc.json``, with the weights of a run."""
    config = ConfigParser(ConfigParser.load_config_files("bundles/scribble/inference.json"))
    config.update({"spatial_dims": 2, "num_classes": 4})
    network: torch.nn.Module = config.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network


@torch.no_grad()
def cases(network: torch.nn.Module, data: Path, section: str, every: int = 1) -> Iterator[Case]:
    """Predictions, scaled image, scribble and dense mask of every ``every``-th volume of a section."""
    infer = SliceInferer(spatial_dim=2, roi_size=(160, 160), sw_batch_size=8, overlap=0.5, mode="gaussian")
    load, scale = LoadImage(ensure_channel_first=True), ScaleIntensityRangePercentiles(0.5, 99.5, 0, 1, clip=True)
    labels = MapWeakLabels(4, ignore_values=4)
    items = json.loads((data / "dataset.json").read_text())[section][::every]
    for item in tqdm(items, desc=section):
        image, scribble, truth = (load(data / item[key]) for key in ("image", "scribble", "mask"))
        guide = scale(image).as_tensor()[None]
        marks, mask = (labels(x).as_tensor()[None] for x in (scribble, truth))
        yield Case(infer(guide, network), guide, marks, mask, item["spacing"])
