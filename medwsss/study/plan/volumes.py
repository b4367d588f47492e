# SPDX-License-Identifier: Apache-2.0
"""What ``bundles/scribble`` is to do with a study of volumes."""

from __future__ import annotations

import math

from medwsss.study.intensities import rounded
from medwsss.study.plan.facts import STEPS, Facts
from medwsss.study.plan.patches import plan_grid, step_memory
from medwsss.study.plan.training import Settings, bandwidth, cached, length

__all__ = ["plan_volumes"]

_ANISOTROPIC = 3  # from this ratio of spacings on, slices say more about their plane than about each other
_FEW = 8  # slices that leave nothing to halve
_PATCH = {2: 160 * 160, 3: 32 * 48 * 32}  # voxels, on a CPU
_LARGE = (64, 131_072)  # of a large volume a 64th, up to so many voxels
_STEP = {2: 8 * 160 * 160, 3: 2 * 32 * 48 * 32}  # voxels of a batch, likewise
_LEVELS = {2: 4, 3: 3}  # halvings, at most: a pixel's class then depends on about 100 along an axis, a voxel's on 50
_WIDTH = {2: 16, 3: 8}  # channels of the first level, likewise
_ITERATIONS = {2: 1400, 3: 2400}
_SETTLED = 0.05  # share of the objects whose labels more steps of the solver may change
_ON_GPU = 4  # times as many voxels a patch and a batch, on a GPU
_WIDTH_ON_GPU = 32


def plan_volumes(facts: Facts) -> Settings:
    """Settings for three axes, a thick one last, each with its reason."""
    settings: Settings = {}
    dims, settings["spatial_dims"] = _dims(facts)
    settings["in_channels"] = facts.channels, "channels of the images"

    gpu = facts.device == "cuda"
    shape, spacing = facts.shape[:dims], facts.spacing[:dims]
    most = max(_PATCH[dims], min(int(math.prod(shape)) // _LARGE[0], _LARGE[1])) * (_ON_GPU if gpu else 1)
    patch, strides = plan_grid(shape, spacing, most, _LEVELS[dims])
    extent = " x ".join(f"{side * step:.3g}" for side, step in zip(patch, spacing))
    near = f"; the nearest stroke is {facts.distance:.3g} away on average" if facts.distance else ""
    settings["patch_size"] = patch, f"{extent} of the grid's unit, at most {most} voxels on a {facts.device}{near}"
    uneven = any(isinstance(stride, list) for stride in strides)
    settings["strides"] = strides, "a pixel's class depends on a hundred along an axis; " * (len(strides) == 4) + (
        "an axis twice as coarse as another is not halved with it, nor one of fewer than eight voxels"
        if uneven
        else f"each of {len(strides)} levels halves all axes"
    )
    width = _WIDTH_ON_GPU if gpu else _WIDTH[dims]
    channels = [width * 2**level for level in range(len(strides) + 1)]
    settings["channels"] = channels, f"{width} and twice as many a level: {dims}-D on a {facts.device}"

    batch = min(max(_STEP[dims] * (_ON_GPU if gpu else 1) // math.prod(patch), 2), 8)
    memory = step_memory(facts.channels, facts.num_classes, patch, batch, channels, strides) / 2**20
    settings["batch_size"] = batch, f"about {memory:.0f} MiB for a step"
    cover = round(facts.shape[2]) if dims == 2 else round(math.prod(facts.shape) / math.prod(patch))
    settings |= length(facts, batch, min(max(cover, 2), 16 if dims == 2 else 8), _ITERATIONS[dims])
    rate = 0.002 if dims == 2 or gpu else 0.003
    settings["learning_rate"] = rate, "AdamW" + ", for a narrow network" * (rate == 0.003)
    settings["cache_rate"] = cached(facts)
    settings["bandwidth"] = bandwidth(facts, 0.02)
    if facts.settling:
        settings["solver_steps"] = _solver_steps(facts.settling)
    if window := _window(facts):
        settings["scale_intensity"] = window
    return settings


def _dims(facts: Facts) -> tuple[int, tuple[int, str]]:
    slices, within = facts.spacing[-1], max(facts.spacing[:-1])
    told = f"slices are {slices:.3g} apart, {slices / within:.3g} times their pixels"
    if facts.turned:
        told += f" ({facts.turned} volumes are turned: their slices lie on another axis)"
    if facts.spatial_dims:
        return facts.spatial_dims, (facts.spatial_dims, f"asked for; {told}")
    if facts.shape[-1] < _FEW:
        return 2, (2, f"{facts.shape[-1]:.3g} slices: there is nothing to learn across them")
    if slices >= _ANISOTROPIC * within:
        return 2, (2, f"{told}: slices one by one")
    return 3, (3, told)


def _solver_steps(settling: list[float]) -> tuple[int, str]:
    """As few as make labels that more of them hardly change; a training step takes as long as its solve does."""
    *tried, last = STEPS
    steps = next((steps for steps, share in zip(STEPS, settling) if share <= _SETTLED), last)
    shares = ", ".join(f"{100 * share:.2g}" for share in settling[:-1])
    counts = ", ".join(map(str, tried))
    return steps, f"labels after {counts} steps differ from those after {last} in {shares} % of the objects"


def _window(facts: Facts) -> tuple[dict[str, object], str] | None:
    """One scale for all images, where intensities are measures: that of what is annotated."""
    if not facts.hounsfield or facts.foreground is None:
        return None
    low, high = rounded([(facts.foreground[0], facts.foreground[1])])
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": low, "a_max": high}
    return {**scale, "b_min": 0.0, "b_max": 1.0, "clip": True}, (
        f"computed tomography: the window of the annotated objects, {low:g} to {high:g}, for all images"
    )
