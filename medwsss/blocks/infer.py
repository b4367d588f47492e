# SPDX-License-Identifier: Apache-2.0
"""A trained network on scenes in blocks: class probabilities of the whole, but for rounding."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from monai.config import PathLike

from medwsss.blocks.plan import Case, Plan
from medwsss.blocks.sources import check_files
from medwsss.bundle.location import bundle_folder
from medwsss.bundle.run_folder import read_run
from medwsss.keys import IMAGE
from medwsss.rasters import Georeference, RasterPredictor
from medwsss.rasters.bands import band_numbers
from medwsss.study import find_inputs
from medwsss.study.problems import raise_problems
from medwsss.study.readers import stem_of
from medwsss.study.windows import Window

__all__ = ["plan_predictions", "predict_block"]

_BUNDLE = "remote_sensing"
_CORE = 1024


def plan_predictions(
    run: PathLike,
    source: PathLike,
    output: PathLike,
    given: Mapping[str, Any],
    section: str = "test",
    core: int | None = None,
    halo: int | None = None,
    allow_outside: bool = False,
) -> Plan:
    """Look at every scene once.

    Args:
        run: folder of a finished run of ``bundles/remote_sensing``.
        source: folder of GeoTIFF scenes, or a data list.
        output: where the plan will be.
        given: what the plan keeps, to tell whether a later call asks for the same.
        section: of the data list.
        core: pixels a side of a block; default 1024.
        halo: pixels around it; default: as many as the network looks at.
        allow_outside: accept files outside the list's folder.

    Raises:
        ValueError: for another bundle's run, whose images are taken in windows of their own, and naming files that the
            network cannot take.
    """
    bundle, settings = read_run(run)
    if bundle != _BUNDLE:
        raise ValueError(f"expected a run of bundles/{_BUNDLE}, got one of {bundle} in {run}: medwsss infer takes it")
    folder = Path(str(run)).absolute()
    figures = {"run": str(folder), "weights": _digest(folder)}
    predictor = _predictor(*figures.values())
    step = int(np.prod(settings.get("strides", [1])))
    core, halo = core or _CORE, predictor.halo if halo is None else halo
    if core < 1 or halo < 0:
        raise ValueError(f"expected a core of at least 1 pixel and a halo from 0, got {core} and {halo}")
    core, halo = (-(-side // step) * step for side in (core, halo))
    datalist = source if str(source).endswith(".json") else None
    items = find_inputs(source, output, datalist=datalist, section=section, allow_outside=allow_outside)
    cases, problems = [], []
    for item in items:
        image = item[IMAGE]
        try:
            check_files(image)
            band_numbers(image, predictor.statistics.names)
            shape = Georeference.of(image).shape
            case = Case(stem_of(image), {IMAGE: image}, shape, [min(core, n) for n in shape], [halo] * 2, figures)
            cases.append(Case(**{**vars(case), "figures": {**figures, "bytes": case.sizes()}}))
        except (ValueError, OSError) as error:  # the others' faults are to be told too
            problems.append(str(error))
    if len({case.name.lower() for case in cases}) < len(cases):
        problems.append(f"expected a name for each image of {source}, got several of one name")
    raise_problems(problems)
    return Plan("infer", dict(given), predictor.class_names, cases)


def predict_block(case: Case, window: Window) -> np.ndarray:
    """``σ`` of a block's core, ``K *core`` in single precision, 0 where the image has nothing."""
    predictor, image = _predictor(case.figures["run"], case.figures["weights"]), case.files[IMAGE]
    sigma, void = predictor.probabilities(image, band_numbers(image, predictor.statistics.names), window)
    found: np.ndarray = np.where(void, 0, sigma.cpu().numpy()).astype(np.float32)
    return found


@functools.lru_cache(maxsize=1)
def _predictor(run: str, weights: str) -> RasterPredictor:
    """As the bundle's inference has it, with the run's settings."""
    if _digest(Path(run)) != weights:
        raise ValueError(f"expected the weights that the plan was made with, got others in {run}")
    bundle, settings = read_run(run)
    config = ConfigParser.load_config_file(str(bundle_folder(bundle) / "inference.json"))
    parser = ConfigParser({**config, **settings, "run_dir": run, "bundle_root": str(bundle_folder(bundle))})
    predictor: RasterPredictor = parser.get_parsed_content("predictor")
    return predictor


def _digest(run: Path) -> str:
    return sha256((run / "model.pt").read_bytes()).hexdigest()
