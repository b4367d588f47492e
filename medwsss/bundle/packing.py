# SPDX-License-Identifier: Apache-2.0
"""A run as a bundle of its own, which MONAI's tools take, in a layout that may be pushed to a hub as it is::

    FOLDER/configs/inference.json, metadata.json, logging.conf
           models/model.pt, model.ts, model.safetensors
           docs/README.md, README.md    the model card
           LICENSE, SHA256SUMS

Preprocessing is the run's, and the mean over mirror images ours, so medwsss has to be installed where it is used;
windows, postprocessing and evaluator are MONAI's own, and what they save equals what ``medwsss infer`` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.config import PathLike
from monai.utils import optional_import

from medwsss.bundle.export import export_run
from medwsss.bundle.location import bundle_folder
from medwsss.bundle.run_folder import read_run
from medwsss.files import read_json, write_atomically, write_json
from medwsss.keys import SETTINGS

__all__ = ["pack_run"]

safetensors, has_safetensors = optional_import("safetensors.torch")

#: What of the bundle's inference stays as it is.
KEPT = (
    *("device", "amp", "test_flip", "patch_3d", "network", "scale_intensity", "preprocessing", "dataloader"),
    *("slices", "windows"),
)
COMPOSED = ("preprocessing", "postprocessing")  #: transforms that tools take
#: And what takes the place of the rest: stock MONAI. Images are loaded and given their channel axis in two steps, as
#: some tools do the first themselves.
STOCK: dict[str, Any] = {
    "imports": ["$import glob", "$import torch"],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/images'",
    "pattern": "*.nii*",
    "output_dir": "$@bundle_root + '/predictions'",
    "datalist": "$[{'image': path} for path in sorted(glob.glob(@dataset_dir + '/' + @pattern))]",
    "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": True,
            },
            {
                "_target_": "SaveImaged",
                "keys": "pred",
                "output_dir": "@output_dir",
                "output_postfix": "pred",
                "output_dtype": "uint8",
                "separate_folder": False,
                "resample": False,
            },
        ],
    },
    "handlers": [
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        }
    ],
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
        "amp": "@amp",
    },
    "run": ["$@evaluator.run()"],
}


def pack_run(run_dir: PathLike, output: PathLike | None = None) -> Path:
    """Write the bundle of a run's folder.

    Args:
        run_dir: with ``model.pt`` and ``settings.json``, of bundles/scribble.
        output: an absent or empty folder, whose name is the bundle's; default: ``bundle`` in the run's.

    Returns:
        The folder.

    Raises:
        ValueError: for a run of another bundle, and for a folder that is in use.
        ImportError: without safetensors.
    """
    run = Path(str(run_dir))
    target = run / "bundle" if output is None else Path(str(output))
    name, settings = read_run(run)
    if name != "scribble":
        raise ValueError(f"expected a run of the bundle scribble, got one of {name}: {run / SETTINGS}")
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"expected a folder that is absent or empty, got files in {target}")
    if not has_safetensors:
        raise ImportError('expected safetensors for a bundle: pip install "medwsss[weights]"')
    source = bundle_folder(name)
    (target / "models").mkdir(parents=True, exist_ok=True)
    export_run(run, "torchscript", target / "models" / "model.ts")  # looks at the weights, too
    weights = (run / "model.pt").read_bytes()
    state = torch.load(run / "model.pt", map_location="cpu", weights_only=True)
    tensors = {key: value.contiguous() for key, value in state.get("network", state).items()}
    metadata = _metadata(read_json(source / "metadata.json"), settings)
    card = _card(target.name, metadata, settings)
    for path, data in {
        "models/model.pt": weights,
        "models/model.safetensors": safetensors.save(tensors, {"format": "pt"}),
        "configs/logging.conf": (source / "logging.conf").read_bytes(),
        "LICENSE": (source / "LICENSE").read_bytes(),
        "README.md": card.encode(),
        "docs/README.md": card.partition("---\n\n")[2].encode(),
    }.items():
        write_atomically(memoryview(data), target / path)
    write_json(_inference(source / "inference.json", settings), target / "configs" / "inference.json")
    write_json(metadata, target / "configs" / "metadata.json")
    files = sorted(path for path in target.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(target).as_posix()}" for path in files]
    write_atomically(memoryview(("\n".join(sums) + "\n").encode()), target / "SHA256SUMS")
    return target


def _inference(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The bundle's inference with the run's settings in it."""
    theirs = ConfigParser.load_config_file(str(path))
    config = {**STOCK, **{key: theirs[key] for key in KEPT}, "inferer": theirs["views"], **settings}
    config.pop("class_names", None)
    load, *rest = config["preprocessing"]["transforms"]
    steps = [{**load, "ensure_channel_first": False}, {"_target_": "EnsureChannelFirstd", "keys": "image"}, *rest]
    return {**config, "preprocessing": {**config["preprocessing"], "transforms": steps}}


def _metadata(theirs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The bundle's, of this network; what was said of the bundle's own study is left out."""
    names = settings.get("class_names") or [f"class {k}" for k in range(settings["num_classes"])]
    shape = [f"{size}" for size in settings["patch_size"]]
    kept = {key: value for key, value in theirs.items() if key not in ("eval_metrics", "data_source", "image_classes")}
    image, pred = (
        dict(kept["network_data_format"][key][name]) for key, name in (("inputs", "image"), ("outputs", "pred"))
    )
    channels = {str(k): f"channel {k}" for k in range(settings["in_channels"])}
    image |= {"num_channels": settings["in_channels"], "spatial_shape": shape, "channel_def": channels}
    pred |= {"num_channels": settings["num_classes"], "spatial_shape": shape}
    pred |= {"channel_def": {str(k): str(name) for k, name in enumerate(names)}}
    return {
        **kept,
        "pred_classes": f"{len(names)} channels: {', '.join(map(str, names))}",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }


def _card(name: str, metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The model card, with the fields that hubs read in front."""
    classes = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    network = {key: value for key, value in settings["network_def"].items() if key != "_target_"}
    packages = " ".join(f'"{name}>={v}"' for name, v in metadata["required_packages_version"].items())
    rows = "\n".join(f"| {number} | {label} |" for number, label in classes.items())
    front = {"library_name": "monai", "pipeline_tag": "image-segmentation", "license": "unknown"}
    lines = "\n".join(f"{key}: {value}" for key, value in front.items())
    return f"""---
{lines}
tags:
- monai
- medical
- segmentation
- weak-supervision
---

# {name}

A segmentation network trained from scribbles with medwsss, as a MONAI bundle. {metadata["description"]}

| value | class |
|---|---|
{rows}

Input: {settings["in_channels"]} channel(s), patches of {" x ".join(map(str, settings["patch_size"]))}. Network:
`{settings["network_def"]["_target_"]}`, `{json.dumps(network)}`.

    pip install "monai>={metadata["monai_version"]}" {packages}
    python -m monai.bundle run --config_file configs/inference.json --dataset_dir images --output_dir predictions

`sha256sum -c SHA256SUMS` checks the files; `models/` has the same weights three times: as PyTorch reads them
(`weights_only=True`), as TorchScript, and as safetensors.

To be said by whoever publishes it: the data that it was trained on, how well it does on which cases, and under what
licence the weights are (`license` above). `LICENSE` is that of the configuration. Not for clinical use.
"""
