# SPDX-License-Identifier: Apache-2.0
"""What nnU-Net's recipe has and ours has not, each alone and all together, at equal minutes of training.

    python -m tests.benchmarks.ingredients --data DIR --minutes 2 --seeds 0 1

On strokes by self-labeling (``strokes``), and on dense masks (``dense``); the rows and settings are those of
``medwsss.experiments robustness``. A method is given the iterations that it does in the time, by a short training of
its own. Writes a folder a row in ``--output``, as ``medwsss compare`` does; what is there is not done again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from medwsss.experiments.data import prepared
from medwsss.experiments.robustness import ROWS
from medwsss.files import write_json

#: Appended to a training's random transforms, after the guide is a copy of the image.
LATER = "+train#random_transforms"
IMAGE = {"keys": "image", "prob": 0.25}
INTENSITIES: list[dict[str, Any]] = [
    {"_target_": "RandAdjustContrastd", "gamma": [0.7, 1.5], **IMAGE},
    {"_target_": "RandGaussianSmoothd", "sigma_x": [0.5, 1], "sigma_y": [0.5, 1], "sigma_z": [0.5, 1], **IMAGE},
    {
        "_target_": "RandSimulateLowResolutiond",
        "zoom_range": [0.5, 1],
        "upsample_mode": "$'bilinear' if @spatial_dims == 2 else 'trilinear'",
        **IMAGE,
    },
]
MIRROR = {"_target_": "RandFlipd", "keys": "$['image', 'guide'] + @annotations", "prob": 0.5, "spatial_axis": 2}
SGD: dict[str, Any] = {
    "learning_rate": 0.01,
    "optimizer": {
        "_target_": "torch.optim.SGD",
        "params": "$@network.parameters()",
        "lr": "@learning_rate",
        "momentum": 0.99,
        "nesterov": True,
        "weight_decay": 3e-5,
    },
}
AVERAGE: dict[str, Any] = {
    "average": {"_target_": "ignite.handlers.EMAHandler", "model": "@network", "momentum": 0.01},
    "+train#handlers": ["@average"],
    "validate#evaluator#network": "$@average.ema_model",
}
DEEP: dict[str, Any] = {
    "network_def": {
        "_target_": "tests.benchmarks.deep_supervision.DeepUNet",
        "spatial_dims": "@spatial_dims",
        "in_channels": "@in_channels",
        "out_channels": "@num_classes",
        "kernel_size": "$[3] * len(@channels)",
        "strides": "$[1, *@strides]",
        "upsample_kernel_size": "@strides",
        "filters": "@channels",
        "deep_supervision": True,
        "deep_supr_num": "$len(@channels) - 2",
    },
    "loss": {
        "_target_": "tests.benchmarks.deep_supervision.DeepSupervisionLoss",
        "loss": "%bundles/scribble/train.json::loss",
        "network": "@network",
    },
}
VIEWS = {
    "_target_": "medwsss.inferers.MultiScaleInferer",
    "inferer": "$@validate#slices if @spatial_dims == 2 else @validate#windows",
    "flip": [0, 1],
}
INGREDIENTS: dict[str, dict[str, Any]] = {
    "partial_dice": {"dice_weight": 1.0},
    "sgd": SGD,
    "intensities": {LATER: INTENSITIES},
    "mirror": {LATER: [MIRROR]},  # along the third axis; along the others the bundle does
    "average": AVERAGE,  # of weights, for validation
    "mirrored_test": {"validate#inferer": VIEWS},
}
#: nnU-Net's own network, of the bundle's widths, without and with deep supervision; not part of ``all``.
NETWORKS: dict[str, dict[str, Any]] = {
    "dynamic_unet": {"network_def": {**DEEP["network_def"], "deep_supervision": False, "deep_supr_num": 1}},
    "deep_supervision": DEEP,
}
#: What depends on the row: one level more, and larger patches.
OF_ROW: dict[str, dict[str, dict[str, Any]]] = {
    "acdc_2d": {"deeper": {"channels": [16, 32, 64, 128, 256]}, "larger_patches": {"patch_size": [208, 208]}},
    "acdc_3d": {
        "deeper": {
            "channels": [16, 32, 64, 128, 256],
            "strides": [[2, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 1]],
        },
        "larger_patches": {"patch_size": [144, 144, 8]},
    },
    "hippocampus": {"deeper": {"channels": [8, 16, 32, 64, 128]}, "larger_patches": {"patch_size": [48, 64, 48]}},
}


def overlays_of(row: str) -> dict[str, dict[str, Any]]:
    """Name and content of each ingredient of a row, of all together, and of nnU-Net's network."""
    each = {name: of for name, of in INGREDIENTS.items() if row != "acdc_2d" or name != "mirror"} | OF_ROW[row]
    together: dict[str, Any] = {LATER: []}
    for of in each.values():
        together |= {name: value for name, value in of.items() if name != LATER}
        together[LATER] += of.get(LATER, [])
    return {**each, "all": together, **NETWORKS}


def main() -> None:
    """Compare what is missing, study by study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="where acdc and hippocampus are (%(default)s)")
    parser.add_argument("--rows", nargs="+", choices=OF_ROW, default=list(OF_ROW))
    parser.add_argument("--supervision", nargs="+", choices=["strokes", "dense"], default=["strokes", "dense"])
    names = sorted({name for row in OF_ROW for name in overlays_of(row)})
    parser.add_argument("--ingredients", nargs="+", choices=names, default=names, help="where a row has them")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seeds", nargs="+", default=["0", "1"])
    parser.add_argument("--output", type=Path, default=Path("output/ingredients"))
    told = parser.parse_args()
    for supervision in told.supervision:
        for name in told.rows:
            row, folder = ROWS[name], told.output / f"{name}_{supervision}"
            words = {"length": f"{row.length:g}", "data": told.data}
            study = prepared(Path(row.folder.format(**words)), row.prepare.format(**words).split())
            written = {"row": dict(row.options), **overlays_of(name)}
            if supervision == "dense":
                written["row"] |= row.dense
            overlays = folder.with_name(f"{folder.name}_overlays")
            for method, of in written.items():
                write_json(of, overlays / f"{method}.json")
            asked = [method for method in list(written)[1:] if method in told.ingredients]
            if supervision == "dense" and "partial_dice" in asked:
                asked.remove("partial_dice")  # full.json has it
            command = [sys.executable, "-m", "medwsss", "compare", "--datalist", str(study / "dataset.json")]
            command += ["--overlays", *row.overlays, *["full"] * (supervision == "dense"), f"{overlays}/row.json"]
            command += ["--methods", "default", *(f"{overlays}/{method}.json" for method in asked)]
            command += ["--seeds", *told.seeds, "--budget", f"{told.minutes:g}min", "--output", str(folder)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
