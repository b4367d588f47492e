# SPDX-License-Identifier: Apache-2.0
"""What all converters share: cases in, a study and its data list out, in parallel, whole or continued.

A converter knows one official layout. It lists what it found as :class:`Case` objects in a :class:`Study`, with a
function that turns one case into files; :func:`convert` does the rest::

    def add_arguments(parser):
        add_common_arguments(parser)

    def run(arguments):
        cases = [Case(name, patient, {IMAGE: image, LABEL: mask}), …]
        return convert(Study("ACDC", CLASSES, cases, make, [arguments.source]), arguments)

A study is ``images/NAME…``, ``scribbles/NAME…``, ``labels/NAME…`` and, last, ``dataset.json``. Every file appears whole
or not at all. The same command run again goes on, and ends with the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Union

from tqdm import tqdm

from data_prep.engine.journal import Item, Journal
from data_prep.engine.splits import SECTIONS, SPLITS, assign_sections
from data_prep.engine.summary import summary
from medwsss.files import write_atomically
from medwsss.keys import LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.parallel import parallel_map

DATALIST = "dataset.json"

# options that say where and how, not what: runs that differ in nothing else make the same study
_NOT_CONTENT = ("workers", "force")


@dataclass(frozen=True)
class Case:
    """One image with what belongs to it."""

    name: str  #: unique in the study; the stem of the output files
    patient: str  #: what a split must not tear apart: patient, scene, photograph
    files: Mapping[str, Union[Path, tuple[Path, ...]]]  #: sources by key (IMAGE, SCRIBBLE, LABEL); several: channels
    section: str | None = None  #: of ``splits.SECTIONS``, where the publisher says so; None: by ``--split``

    @property
    def paths(self) -> list[Path]:
        """All sources."""
        return [path for value in self.files.values() for path in ([value] if isinstance(value, Path) else value)]


@dataclass(frozen=True)
class File:
    """One file to write."""

    suffix: str  #: ``.nii.gz``, ``.png``, …
    content: Union[bytes, Path]  #: bytes, or the source to copy byte by byte

    def read(self) -> bytes:
        """The bytes to write."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


#: A case's files by key (IMAGE, SCRIBBLE, LABEL); a list for the channels of one image.
Files = Mapping[str, Union[File, Sequence[File]]]


@dataclass(frozen=True)
class Study:
    """What a converter found, and how to make files of it."""

    name: str
    labels: Sequence[str]  #: names of the classes 0 … K−1
    cases: Sequence[Case]
    make: Callable[[Case], Files]  #: a module's function or a ``functools.partial`` of one: it travels to processes
    roots: Sequence[Path]  #: the source folders, which no source file may leave
    spatial_dims: int = 3
    in_channels: int = 1
    void: bool = False  #: whether labels may hold VOID
    facts: Mapping[str, Any] = field(default_factory=dict)  #: more entries of the data list


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options every converter has."""
    parser.add_argument("--source", type=Path, required=True, help="folder of the data as published; only read")
    parser.add_argument("--output", type=Path, required=True, help="folder for the study: absent, empty or unfinished")
    parser.add_argument(
        "--split", choices=sorted(SPLITS), help="a published split; default: the data's own, else random"
    )
    parser.add_argument("--fold", type=int, default=1, metavar="K", help="of a split with folds (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of a random split, which is by patient (default: 0)")
    parser.add_argument(
        "--validation-share", type=float, default=0.2, metavar="X", help="of a random split's patients (default: 0.2)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--force", action="store_true", help="write into a folder that holds something else")


def convert(study: Study, arguments: argparse.Namespace) -> int:
    """Write ``study`` to ``arguments.output``, or what of it is not there yet, and print a summary.

    Args:
        study: what to write.
        arguments: of :func:`add_common_arguments`, possibly with more.

    Returns:
        0, the exit code.

    Raises:
        ValueError: before anything is written for folders inside one another, an output in use, two cases of one
            name, sources that are missing or lie outside their folder, and a disk with less room than they take; at
            the end, a line each, for cases whose files are not as they should be (others are kept).
        OSError: as soon as a file cannot be written (disk full, no permission).
    """
    output: Path = arguments.output
    _check_folders(study.roots, output)
    study = replace(study, cases=_in_sections(study.cases, arguments))
    _check_cases(study)
    fingerprint = _fingerprint(study, arguments)
    journal = Journal(output, output / DATALIST, fingerprint, arguments.force)
    if not journal.complete:
        todo = [case for case in study.cases if case.name not in journal.items]
        output.mkdir(parents=True, exist_ok=True)
        _check_space(todo, output)
        (output / DATALIST).unlink(missing_ok=True)
        journal.begin()
        _convert_cases(todo, study.make, output, arguments.workers, journal)
        content = _datalist(study, journal.items) | {"fingerprint": fingerprint}
        write_atomically(memoryview((json.dumps(content, indent=2) + "\n").encode()), output / DATALIST)
    journal.end()
    print(summary(output / DATALIST))
    return 0


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one ``ValueError`` that lists ``problems``, a line each; none if there is none."""
    if problems:
        raise ValueError(f"expected usable data, got {len(problems)} problems:\n" + "\n".join(problems))


def _check_folders(roots: Iterable[Path], output: Path) -> None:
    for root in roots:
        source, target = root.resolve(), output.resolve()
        if not root.is_dir():
            raise ValueError(f"expected a folder to read from, got {root}")
        if target.is_relative_to(source) or source.is_relative_to(target):
            raise ValueError(f"expected source and output apart from each other, got {root} and {output}")


def _in_sections(cases: Sequence[Case], arguments: argparse.Namespace) -> list[Case]:
    patients = {case.patient for case in cases if arguments.split or case.section is None}
    if not patients:
        return list(cases)
    sections = assign_sections(patients, arguments.split, arguments.fold, arguments.seed, arguments.validation_share)
    placed = (replace(case, section=sections.get(case.patient, case.section)) for case in cases)
    return [case for case in placed if case.section and (case.patient in sections or not arguments.split)]


def _check_cases(study: Study) -> None:
    if not study.cases:
        raise ValueError(f"expected at least one case, got none in {', '.join(map(str, study.roots))}")
    counts = Counter(case.name for case in study.cases)
    problems = [f"expected one case of a name, got {n} named {name}" for name, n in counts.items() if n > 1]
    folders = [root.resolve() for root in study.roots]
    for path in dict.fromkeys(path for case in study.cases for path in case.paths):
        if not path.exists():
            problems.append(f"expected an existing file, got {path}")
        elif not any(path.resolve().is_relative_to(folder) for folder in folders):
            problems.append(f"expected a file inside the source folder, got a link to {path.resolve()}: {path}")
    raise_problems(problems)


def _fingerprint(study: Study, arguments: argparse.Namespace) -> str:
    """Of all that decides about the output's bytes; without dates and folders, which may move."""
    options = {k: v for k, v in vars(arguments).items() if k not in _NOT_CONTENT and not isinstance(v, Path)}
    files = [[(path.name, path.stat().st_size) for path in case.paths] for case in study.cases]
    cases = [(case.name, case.patient, case.section) for case in study.cases]
    content = json.dumps([study.name, list(study.labels), options, cases, files], default=str, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _check_space(cases: Iterable[Case], output: Path) -> None:
    needed, free = sum(path.stat().st_size for case in cases for path in case.paths), shutil.disk_usage(output).free
    if free < needed:
        raise ValueError(
            f"expected room for {needed / 1e6:.0f} MB, the sources' size, got {free / 1e6:.0f} in {output}"
        )


def _convert_cases(
    cases: Sequence[Case], make: Callable[[Case], Files], output: Path, workers: int, journal: Journal
) -> None:
    problems = []
    with closing(parallel_map(partial(_convert_case, make=make, output=output), cases, workers)) as results:
        for case, result in tqdm(results, total=len(cases), desc="converting", unit="case", disable=None):
            if isinstance(result, str):
                problems.append(result)
            else:
                journal.add(case.name, result)
    raise_problems(sorted(problems))


def _convert_case(case: Case, make: Callable[[Case], Files], output: Path) -> Item | str:
    """Write a case's files; its entry in the data list, or what is wrong with its sources."""
    item: Item = {}
    contents: dict[str, bytes] = {}
    try:
        for key, value in make(case).items():
            files = [value] if isinstance(value, File) else value
            stems = [case.name] if isinstance(value, File) else [f"{case.name}_{k:04d}" for k in range(len(files))]
            names = [f"{key}s/{stem}{file.suffix}" for stem, file in zip(stems, files)]
            contents |= {name: file.read() for name, file in zip(names, files)}
            item[key] = names[0] if isinstance(value, File) else names
        if not item.keys() & ({SCRIBBLE, LABEL} if case.section == "training" else {LABEL}):
            raise ValueError(f"expected {'annotations' if case.section == 'training' else 'a dense mask'}, got none")
    except Exception as error:  # whatever a reader raises: the user gets a list of all bad files
        return f"{case.name}: {'' if isinstance(error, ValueError) else type(error).__name__ + ': '}{error}"
    for name, content in contents.items():
        write_atomically(memoryview(content), output / name)
    return {**item, "patient": case.patient}


def _datalist(study: Study, items: Mapping[str, Item]) -> dict[str, Any]:
    """Decathlon style; entries in the order of the cases."""
    sections = {section: [items[case.name] for case in study.cases if case.section == section] for section in SECTIONS}
    return {
        "name": study.name,
        "labels": {str(k): name for k, name in enumerate(study.labels)},
        "num_classes": len(study.labels),
        "ignore_values": [UNLABELED],
        "void_values": [VOID] if study.void else [],
        "spatial_dims": study.spatial_dims,
        "in_channels": study.in_channels,
        **study.facts,
        **sections,
    }
