# SPDX-License-Identifier: Apache-2.0
"""Work on images that are larger than memory, or than one machine, block by block::

    medwsss blocks labels STUDY/dataset.json --output OUT --workers 4

The same line again goes on where it was stopped. On a cluster, make the plan first and give each job of an array its
part; the line without a part, at last, puts the maps together::

    medwsss blocks labels STUDY/dataset.json --output OUT --plan-only
    medwsss blocks labels STUDY/dataset.json --output OUT --part-id $SLURM_ARRAY_TASK_ID --num-parts 64
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from hashlib import sha256
from pathlib import Path

from medwsss.blocks.cluster import connected, dask_map
from medwsss.blocks.infer import plan_predictions
from medwsss.blocks.jobs import Map, begin, pending, run_jobs
from medwsss.blocks.labels import plan_labels
from medwsss.blocks.options import STARTS, LabelOptions
from medwsss.blocks.outputs import Damaged, finish_case
from medwsss.blocks.plan import Plan, read_plan
from medwsss.blocks.sources import require_zarr
from medwsss.files import location, require_writable
from medwsss.parallel import parallel_map
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS

__all__ = ["main"]

_DRIVING = ("command", "output", "workers", "scheduler", "part_id", "num_parts", "plan_only")  # no result depends on it


def main(arguments: Sequence[str], prog: str) -> int:
    """Run a command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    told = _parser(prog).parse_args(arguments)
    require_zarr()
    if told.command == "status":
        return _status(told.output)
    if not 0 <= told.part_id < told.num_parts:
        raise ValueError(f"expected --part-id from 0 and below --num-parts, got {told.part_id} of {told.num_parts}")
    plan = _planned(told)
    part = (told.part_id, told.num_parts)
    if told.plan_only:
        return _status(told.output)
    with ExitStack() as stack:
        run: Map = partial(parallel_map, workers=told.workers)
        if told.scheduler is not None:
            run = partial(dask_map, client=stack.enter_context(connected(told.scheduler, told.workers)))
        run_jobs(told.output, plan, run, part)
        if told.num_parts > 1:
            return _status(told.output)
        try:
            written = _finish(told.output, plan, told.workers)
        except (Damaged, BrokenProcessPool):  # blocks that have no mark any more; a process was killed
            run_jobs(told.output, plan, run)
            written = _finish(told.output, plan, told.workers)
    print("\n".join(map(str, written)))
    return 0


def _finish(folder: Path, plan: Plan, workers: int) -> list[Path]:
    maps = [finish_case(folder, plan, index, workers) for index in range(len(plan.cases))]
    return [path for path in maps if path is not None]


def _planned(told: argparse.Namespace) -> Plan:
    """The plan in the output folder, or a new one."""
    given = {name: value for name, value in vars(told).items() if name not in _DRIVING}
    for name in ("list", "run", "source", "probabilities"):
        if given.get(name):
            given[name] = str(location(given[name]).absolute())
    datalist = Path(given.get("list") or given.get("source") or "")
    if datalist.is_file():
        given["list_content"] = sha256(datalist.read_bytes()).hexdigest()
    plan = read_plan(told.output)
    if plan is not None:
        plan.check(told.command, given, told.output)
        return plan
    if told.num_parts > 1:
        raise ValueError(f"expected a plan in {told.output}, got none: run the same line with --plan-only first")
    require_writable(told.output)
    if told.command == "infer":
        cut = (told.section, told.core, told.halo, told.allow_outside)
        plan = plan_predictions(told.run, told.source, told.output, given, *cut)
    else:
        if told.probabilities and not told.prior_weight:
            told.prior_weight = 1.0
        options = LabelOptions(**{each.name: getattr(told, each.name) for each in fields(LabelOptions)})
        look = (told.output, told.annotation_key, told.allow_outside, told.workers)
        plan = plan_labels(told.list, options, given, *look)
    begin(told.output, plan)
    return plan


def _status(folder: Path) -> int:
    plan = read_plan(folder)
    if plan is None:
        raise ValueError(f"expected a plan of blocks, got no plan.json in {folder}")
    left = pending(folder, plan)
    for index, case in enumerate(plan.cases):
        todo = sum(job.case == index for job in left)
        total = len(case.blocks)
        print(
            f"{case.name}: {total - todo} of {total} blocks of {list(case.core)} with a halo of {list(case.halo)} done"
        )
    return 0


def _number(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _parser(prog: str) -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=formatter, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="how many blocks are done")
    status.add_argument("output", type=location)
    labels = commands.add_parser("labels", help="pseudo-labels of whole cases", allow_abbrev=False)
    labels.add_argument("list", metavar="LIST", help="data list with images and scribbles under 'training'")
    _driven(labels)
    labels.add_argument("--annotation-key", default="scribble", help="of the scribbles (scribble)")
    default = LabelOptions()
    labels.add_argument("--steps", type=int, default=default.steps, help="of the solver, all taken (%(default)s)")
    start = "coarse labels of the whole case, or levels of coarser grids in each block (%(default)s)"
    labels.add_argument("--start", default=default.start, choices=STARTS, help=start)
    labels.add_argument("--levels", type=int, help="how many of the latter (3; 1 in 3-D)")
    labels.add_argument("--coarse-steps", type=int, default=default.coarse_steps, help="on each (%(default)s)")
    labels.add_argument("--cross-entropy", default=default.cross_entropy, choices=sorted(CROSS_ENTROPIES))
    labels.add_argument("--relaxation", default=default.relaxation, choices=sorted(RELAXATIONS))
    labels.add_argument("--eta", type=float, default=default.eta, help="weight of predictions (%(default)s)")
    labels.add_argument("--lam", type=float, default=default.lam, help="weight of pairs (%(default)s)")
    labels.add_argument("--connectivity", type=int, choices=(1, 2, 3), help="of neighbours (2; 1 in 3-D)")
    labels.add_argument("--bandwidth", type=_number, default=default.bandwidth, help="in the guide's units (auto)")
    labels.add_argument("--guide", default=default.guide, help="auto, pca")
    labels.add_argument(
        "--prior-weight", type=float, default=default.prior_weight, help="of the prior (0; 1 of probabilities)"
    )
    labels.add_argument("--probabilities", metavar="FOLDER", help="of a finished 'blocks infer' of the same images")
    infer = commands.add_parser("infer", help="predictions of scenes by a finished run", allow_abbrev=False)
    infer.add_argument("run", metavar="RUN", help="folder of a training of bundles/remote_sensing")
    infer.add_argument("source", metavar="SOURCE", help="folder of GeoTIFF scenes, or a data list")
    infer.add_argument("--section", default="test", help="of the data list (test)")
    _driven(infer)
    return parser


def _driven(parser: argparse.ArgumentParser) -> None:
    """How blocks are cut, and who does them."""
    parser.add_argument("--output", type=location, required=True, help="folder, made if absent, or a URL")
    parser.add_argument("--core", type=int, help="voxels a side of a block (1024; 128 in 3-D)")
    parser.add_argument("--halo", type=int, help="voxels around it (as many as have a say)")
    parser.add_argument("--allow-outside", action="store_true", help="accept files outside the list's folder")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, whose workers do the blocks; local: own ones")
    parser.add_argument("--part-id", type=int, default=0, help="from 0: which part of the blocks to do")
    parser.add_argument("--num-parts", type=int, default=1, help="of how many")
    parser.add_argument("--plan-only", action="store_true", help="look at the data, write the plan and stop")
