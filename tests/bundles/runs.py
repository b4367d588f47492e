# SPDX-License-Identifier: Apache-2.0
"""The folder of a run that was not trained: settings and random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from tests.bundles.bundle import read


def write_run(folder: Path, norm: str = "instance", **changes: Any) -> Path:
    """A U-Net of two levels on slices, for four classes; ``changes`` are of its settings."""
    torch.manual_seed(0)
    settings = {"num_classes": 4, "spatial_dims": 2, "in_channels": 1, "patch_size": [128, 128]}
    settings |= {"channels": [4, 8], "strides": [2], "scale_intensity": read("inference")["scale_intensity"]} | changes
    taken = {name: settings[name] for name in ("spatial_dims", "in_channels", "channels", "strides")}
    settings["network_def"] = {"_target_": "UNet", **taken, "out_channels": settings["num_classes"], "norm": norm}
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"bundle": "scribble", "settings": settings}))
    network = ConfigParser(settings).get_parsed_content("network_def")
    torch.save(network.state_dict(), folder / "model.pt")
    return folder
