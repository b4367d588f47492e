# SPDX-License-Identifier: Apache-2.0
"""What all converters share: cases in, a study and its data list out, in parallel, whole or continued.

A converter knows one official layout. It lists what it found as :class:`Case` objects in a :class:`Dataset`, with a
function that turns one case into files; :func:`convert` does the rest::

    Options = ConverterOptions  # or a class with more

    def run(options: Options) -> int:
        cases = [Case(name, patient, {IMAGE: image, LABEL: mask}), …]
        return convert(Dataset("ACDC", CLASSES, cases, make, [options.source]), options)

A study is ``images/NAME…``, ``scribbles/NAME…``, ``labels/NAME…`` and, last, ``dataset.json``. Every file appears whole
or not at all. The same command run again goes on, and ends with the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prep.engine.journal import Item, Journal
from data_prep.engine.options import ConverterOptions, StudyOptions, content_of
from data_prep.engine.sections import in_sections, unlike
from data_prep.engine.sources import Case, Dataset, File, Files, companions
from data_prep.engine.splits import SECTIONS
from data_prep.engine.summary import summary
from medwsss.files import write_atomically, write_json
from medwsss.keys import LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.parallel import parallel_map
from medwsss.study.problems import raise_problems

DATALIST = "dataset.json"


def convert(dataset: Dataset, options: ConverterOptions) -> int:
    """Write ``dataset`` by :func:`write_study`, its cases in the sections of the split that ``options`` ask for."""
    return write_study(replace(dataset, cases=in_sections(dataset.cases, options)), options)


def write_study(dataset: Dataset, options: StudyOptions) -> int:
    """Write ``dataset`` to ``options.output``, or what of it is not there yet, and print a summary.

    Args:
        dataset: what to write; each case has its section.
        options: possibly with more; all that the files depend on count.

    Returns:
        0, the exit code.

    Raises:
        ValueError: before anything is written for folders inside one another, an output in use, two cases of one
            name, sources that are missing or (unless ``allow_outside``) lie outside their folder, sections of which
            some cases have strokes, or masks, and others none, and a disk with less room than they take; at the end,
            a line each, for cases whose files are not as they should be (others are kept).
        OSError: as soon as a file cannot be written (disk full, no permission).
    """
    output = options.output
    _check_folders(dataset.roots, output)
    _check_cases(dataset, options.allow_outside)
    fingerprint = _fingerprint(dataset, options)
    journal = Journal(output, output / DATALIST, fingerprint, options.force)
    if not journal.complete:
        todo = [case for case in dataset.cases if case.name not in journal.items]
        output.mkdir(parents=True, exist_ok=True)
        _check_space(todo, output)
        (output / DATALIST).unlink(missing_ok=True)
        journal.begin()
        _convert_cases(todo, dataset.make, output, options.workers, journal)
        write_json(_datalist(dataset, journal.items) | {"fingerprint": fingerprint}, output / DATALIST)
    journal.end()
    print(summary(output / DATALIST))
    return 0


def _check_folders(roots: Iterable[Path], output: Path) -> None:
    for root in roots:
        source, target = root.resolve(), output.resolve()
        if not root.is_dir():
            raise ValueError(f"expected a folder to read from, got {root}")
        if target.is_relative_to(source) or source.is_relative_to(target):
            raise ValueError(f"expected source and output apart from each other, got {root} and {output}")


def _check_cases(dataset: Dataset, allow_outside: bool) -> None:
    if not dataset.cases:
        raise ValueError(f"expected at least one case, got none in {', '.join(map(str, dataset.roots))}")
    if len(dataset.labels) < 2:
        raise ValueError(f"expected at least two classes, got {list(dataset.labels)}: background wants a name, too")
    counts = Counter(case.name for case in dataset.cases)
    problems = [f"expected one case of a name, got {n} named {name}" for name, n in counts.items() if n > 1]
    problems += unlike(dataset.cases)
    folders = [root.resolve() for root in dataset.roots]
    for path in dict.fromkeys(path for case in dataset.cases for path in _read_paths(case)):
        real = path.resolve()
        if not path.is_file():
            hint = (
                ": a folder" if path.is_dir() else r" (folders are divided by /, not by \)" if "\\" in str(path) else ""
            )
            problems.append(f"expected an existing file, got {path}{hint}")
        elif not allow_outside and not any(real.is_relative_to(folder) for folder in folders):
            problems.append(
                f"expected a file in the folder of the source (or --allow-outside), got {path}: it is {real}"
            )
    raise_problems(problems)


def _read_paths(case: Case) -> Iterator[Path]:
    """All that is read of a case: sources, and what belongs to them."""
    for path in case.paths:
        yield path
        yield from companions(path).values()


def _fingerprint(dataset: Dataset, options: StudyOptions) -> str:
    """Of all that decides about the output's bytes; without dates and folders, which may move."""
    files = [[(path.name, path.stat().st_size) for path in _read_paths(case)] for case in dataset.cases]
    cases = [(case.name, case.patient, case.section) for case in dataset.cases]
    told = [dataset.name, list(dataset.labels), dataset.convention, content_of(options), cases, files]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


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
            for stem, file in zip(stems, files):
                contents |= {f"{key}s/{stem}{suffix}": path.read_bytes() for suffix, path in file.beside.items()}
                item |= file.facts
            item[key] = names[0] if isinstance(value, File) else names
        if not item.keys() & {SCRIBBLE, LABEL}:
            raise ValueError("expected annotations, got none")
    except (ValueError, OSError) as error:  # the user gets a list of all bad files
        return f"{case.name}: {error}"
    except Exception as error:  # what a library raises of a file: whichever it is, it is one of these
        return f"{case.name}: {type(error).__name__}: {error} in {', '.join(map(str, case.paths))}"
    for name, content in contents.items():
        write_atomically(memoryview(content), output / name)
    return {**item, "patient": case.patient}


def _datalist(dataset: Dataset, items: Mapping[str, Item]) -> dict[str, Any]:
    """Decathlon style; entries in the order of the cases."""
    sections = {
        section: [items[case.name] for case in dataset.cases if case.section == section] for section in SECTIONS
    }
    return {
        "name": dataset.name,
        "labels": {str(k): name for k, name in enumerate(dataset.labels)},
        "num_classes": len(dataset.labels),
        "ignore_values": [UNLABELED],
        "void_values": [VOID] if dataset.void else [],
        "spatial_dims": dataset.spatial_dims,
        "in_channels": dataset.in_channels,
        **dataset.facts,
        **sections,
    }
