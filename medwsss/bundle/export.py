# SPDX-License-Identifier: Apache-2.0
"""Write the network of a run for use without this project: as TorchScript (model.ts) or ONNX (model.onnx)::

    medwsss export output/scribble --format onnx
    medwsss export output/scene --format deepness --resolution 30

Each takes batches and images of any size that the network takes. The first two take what is prepared as for training,
and return logits; the last one is ONNX for QGIS's plugin Deepness, of scenes in bytes, which takes grey levels as they
are, returns class probabilities, and tells the plugin classes, tiles and resolution. Before it is kept, the file is
loaded and compared with the network, at the size of a patch and at another one.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.config import PathLike
from monai.data import save_net_with_metadata
from monai.networks.utils import convert_to_torchscript
from monai.utils import optional_import
from torch import Tensor, nn

from medwsss.bundle.run_folder import read_run
from medwsss.bundle.weights import load_weights
from medwsss.files import write_atomically
from medwsss.keys import SETTINGS
from medwsss.rasters.deepness import DeepnessNetwork

__all__ = ["FORMATS", "export_run"]

TOLERANCE = 1e-4  #: of logits


def _torchscript(network: nn.Module, image: Tensor, settings: dict[str, object]) -> bytes:
    file = io.BytesIO()
    save_net_with_metadata(convert_to_torchscript(network), file, meta_values=settings)
    return file.getvalue()


def _run_torchscript(data: bytes, image: Tensor) -> Tensor:
    logits: Tensor = torch.jit.load(io.BytesIO(data), map_location="cpu")(image)
    return logits


def _onnx(network: nn.Module, image: Tensor, settings: dict[str, object]) -> bytes:
    file: Any = io.BytesIO()
    names = ["image", "logits"]
    axes = {name: {axis: f"{name}_{axis}" for axis in range(2, image.ndim)} | {0: "batch"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by torch.export takes twenty times as long
        torch.onnx.export(
            network, (image,), file, input_names=names[:1], output_names=names[1:], dynamic_axes=axes, dynamo=False
        )
    data: bytes = file.getvalue()
    return data


def _deepness(network: nn.Module, image: Tensor, settings: dict[str, object]) -> bytes:
    onnx, _ = optional_import("onnx")
    model = onnx.load_from_string(_onnx(network, image, settings))
    resolution = settings["resolution"]
    facts = network.facts(resolution)  # type: ignore[operator]
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in facts.items()})
    data: bytes = model.SerializeToString()
    return data


def _run_onnx(data: bytes, image: Tensor) -> Tensor:
    runtime, _ = optional_import("onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


#: By the format's name: the ending, what writes a file's bytes, what runs them, and what has to be installed.
FORMATS: dict[str, tuple[str, Callable[..., bytes], Callable[[bytes, Tensor], Tensor], tuple[str, ...]]] = {
    "torchscript": (".ts", _torchscript, _run_torchscript, ()),
    "onnx": (".onnx", _onnx, _run_onnx, ("onnx", "onnxruntime")),
    "deepness": (".onnx", _deepness, _run_onnx, ("onnx", "onnxruntime")),
}


def export_run(
    run_dir: PathLike, kind: str = "torchscript", output: PathLike | None = None, resolution: float | None = None
) -> Path:
    """Write the network of a run's folder.

    Args:
        run_dir: with ``model.pt`` and ``settings.json``.
        kind: of :py:data:`FORMATS`.
        output: the file; default: ``model.ts`` or ``model.onnx`` in the folder.
        resolution: centimetres a pixel, for Deepness.

    Returns:
        The file.

    Raises:
        ImportError: with the command that installs what is missing.
        ValueError: for another format, a resolution that a format has no place for, a folder that is not a run's, and
            a file that says other than the network.
    """
    if kind not in FORMATS:
        raise ValueError(f"expected a format of {', '.join(FORMATS)}, got {kind}")
    if resolution is not None and (kind != "deepness" or not resolution > 0):
        raise ValueError(f"expected a resolution above 0, of a network for deepness, got {resolution:g} for {kind}")
    suffix, write, run, needed = FORMATS[kind]
    if missing := [name for name in needed if not optional_import(name)[1]]:
        raise ImportError(f"expected {', '.join(missing)} for {kind}: pip install {' '.join(missing)}")
    folder, (_, settings) = Path(str(run_dir)), read_run(run_dir)
    if absent := {"network_def", "in_channels", "patch_size"} - set(settings):
        raise ValueError(f"expected {', '.join(sorted(absent))} in {folder / SETTINGS}, got {', '.join(settings)}")
    network = load_weights(ConfigParser(settings).get_parsed_content("network_def"), folder / "model.pt").eval()
    if kind == "deepness":
        network = DeepnessNetwork(network, settings).eval()  # a part that is not told so makes exporters train all
        settings = {**settings, "resolution": resolution}
    sizes = [list(settings["patch_size"])]
    sizes.append([2 * sizes[0][0], *sizes[0][1:]])
    images = [torch.rand(2, settings["in_channels"], *size, generator=torch.manual_seed(0)) for size in sizes]
    with torch.no_grad():
        data = write(network, images[0][:1], settings)
        for image in images:
            if (error := float((run(data, image) - network(image)).abs().max())) > TOLERANCE:
                raise ValueError(f"expected the output of {folder / 'model.pt'}, got {kind} that is {error:.1g} off")
    target = Path(str(output)) if output is not None else folder / f"model{suffix}"
    write_atomically(memoryview(data), target)
    return target
