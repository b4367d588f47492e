# SPDX-License-Identifier: Apache-2.0
"""What every network here must stand: TorchScript, ONNX, and MONAI's check of a bundle's network."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import torch
from monai.bundle import verify_net_in_out
from torch import Tensor, nn


def scripted(network: nn.Module, x: Tensor) -> Tensor:
    """The logits of the scripted network."""
    logits: Tensor = torch.jit.script(network)(x)
    return logits


def through_onnx(network: nn.Module, x: Tensor, file: Path) -> Tensor:
    """The logits of the exported network, run by ONNX Runtime."""
    torch.onnx.export(network, (x,), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def verify_in_bundle(folder: Path, definition: dict[str, object], spatial_shape: list[object], classes: int) -> None:
    """Run ``verify_net_in_out`` on a bundle of one network."""

    def data_format(channels: int) -> dict[str, object]:
        return {"num_channels": channels, "spatial_shape": spatial_shape, "dtype": "float32", "value_range": [0, 1]}

    formats = {"inputs": {"image": data_format(3)}, "outputs": {"pred": data_format(classes)}}
    (folder / "metadata.json").write_text(json.dumps({"network_data_format": formats}))
    (folder / "inference.json").write_text(json.dumps({"network": definition}))
    verify_net_in_out(
        "network", meta_file=str(folder / "metadata.json"), config_file=str(folder / "inference.json"), device="cpu"
    )
