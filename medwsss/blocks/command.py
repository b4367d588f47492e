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
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from medwsss.blocks.jobs import begin, pending, run_jobs
from medwsss.blocks.labels import LabelOptions, plan_labels
from medwsss.blocks.outputs import Damaged, finish_case
from medwsss.blocks.plan import Plan, read_plan
from medwsss.blocks.sources import require_zarr
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS

__all__ = ["main"]


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
    run_jobs(told.output, plan, told.workers, part)
    if told.num_parts > 1:
        return _status(told.output)
    try:
        written = _finish(told.output, plan)
    except Damaged:  # blocks that have no mark any more
        run_jobs(told.output, plan, told.workers)
        written = _finish(told.output, plan)
    print("\n".join(map(str, written)))
    return 0


def _finish(folder: Path, plan: Plan) -> list[Path]:
    maps = [finish_case(folder, plan, index) for index in range(len(plan.cases))]
    return [path for path in maps if path is not None]


def _planned(told: argparse.Namespace) -> Plan:
    """The plan in the output folder, or a new one."""
    options = LabelOptions(**{each.name: getattr(told, each.name) for each in fields(LabelOptions)})
    given: dict[str, Any] = asdict(options) | {
        "list": str(Path(told.list).absolute()),
        "list_content": sha256(Path(told.list).read_bytes()).hexdigest(),
        "annotation_key": told.annotation_key,
    }
    plan = read_plan(told.output)
    if plan is not None:
        plan.check(told.command, given, told.output)
        return plan
    if told.num_parts > 1:
        raise ValueError(f"expected a plan in {told.output}, got none: run the same line with --plan-only first")
    plan = plan_labels(told.list, options, given, told.annotation_key, told.allow_outside, told.workers)
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
    status.add_argument("output", type=Path)
    labels = commands.add_parser("labels", help="pseudo-labels of whole cases", allow_abbrev=False)
    labels.add_argument("list", metavar="LIST", help="data list with images and scribbles under 'training'")
    _driven(labels)
    labels.add_argument("--annotation-key", default="scribble", help="of the scribbles (scribble)")
    default = LabelOptions()
    labels.add_argument("--steps", type=int, default=default.steps, help="of the solver, all taken (%(default)s)")
    labels.add_argument("--levels", type=int, help="coarser grids to start on (3; 1 in 3-D)")
    labels.add_argument("--coarse-steps", type=int, default=default.coarse_steps, help="on each (%(default)s)")
    labels.add_argument("--cross-entropy", default=default.cross_entropy, choices=sorted(CROSS_ENTROPIES))
    labels.add_argument("--relaxation", default=default.relaxation, choices=sorted(RELAXATIONS))
    labels.add_argument("--eta", type=float, default=default.eta, help="weight of predictions (%(default)s)")
    labels.add_argument("--lam", type=float, default=default.lam, help="weight of pairs (%(default)s)")
    labels.add_argument("--connectivity", type=int, choices=(1, 2, 3), help="of neighbours (2; 1 in 3-D)")
    labels.add_argument("--bandwidth", type=_number, default=default.bandwidth, help="in the guide's units (auto)")
    labels.add_argument("--guide", default=default.guide, help="auto, pca")
    labels.add_argument("--prior-weight", type=float, default=default.prior_weight, help="of the list's prior (0)")
    return parser


def _driven(parser: argparse.ArgumentParser) -> None:
    """How blocks are cut, and who does them."""
    parser.add_argument("--output", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--core", type=int, help="voxels a side of a block (1024; 128 in 3-D)")
    parser.add_argument("--halo", type=int, help="voxels around it (as many as have a say)")
    parser.add_argument("--allow-outside", action="store_true", help="accept files outside the list's folder")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--part-id", type=int, default=0, help="from 0: which part of the blocks to do")
    parser.add_argument("--num-parts", type=int, default=1, help="of how many")
    parser.add_argument("--plan-only", action="store_true", help="look at the data, write the plan and stop")
