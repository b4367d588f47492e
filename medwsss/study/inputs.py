# SPDX-License-Identifier: Apache-2.0
"""What is to be predicted: the images of a folder or of a data list, each with the one file its prediction goes to."""

from __future__ import annotations

import glob
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from monai.config import PathLike

from medwsss.files import read_json
from medwsss.keys import IMAGE, MAP_OUTPUT, OUTPUT
from medwsss.study.datalist import resolve, section_of
from medwsss.study.outputs import map_suffix, output_suffix
from medwsss.study.problems import raise_problems
from medwsss.study.readers import SUFFIXES, stem_of, suffix_of

__all__ = ["find_inputs", "group_channels"]

logger = logging.getLogger(__name__)

_CHANNEL = re.compile(r"(.+)_(\d{4})", re.DOTALL)  # nnU-Net's CASE_0000, a file a channel
_PREDICTION = "pred"
_SHOWN = 5  # names in a message


def find_inputs(
    dataset_dir: PathLike,
    output_dir: PathLike,
    pattern: str = "*",
    in_channels: int = 1,
    datalist: PathLike | None = None,
    section: str = "test",
    allow_outside: bool = False,
    skip_existing: bool = False,
    maps: Sequence[str] = (),
    endings: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The images to predict, in the order of their names (or of the list), and where their predictions go.

    A prediction is ``<output_dir>/<folder>/<name>_pred<ending>``: ``folder`` is the image's in ``dataset_dir`` (in the
    folder of the data list), the ending that of :py:func:`medwsss.study.outputs.output_suffix`. With more than one
    channel, ``NAME_0000.nii.gz``, ``NAME_0001.nii.gz``, … are the channels of one image, as nnU-Net has them.

    Args:
        dataset_dir: folder with the images. What lies in an ``output_dir`` in it is not among them.
        output_dir: where predictions go; it need not exist.
        pattern: of their names, relative to ``dataset_dir``; ``**`` reaches into sub-folders. One that ends in ``*``
            takes, of what matches, files with an ending of :py:data:`medwsss.study.readers.SUFFIXES` in either case;
            any other takes everything that matches. Hidden files never match a ``*``.
        in_channels: channels of an image.
        datalist: a data list, whose items' images are taken instead of those of ``dataset_dir``.
        section: of the data list; its items have an ``image`` or are file names.
        allow_outside: accept files outside the folder of the list.
        skip_existing: leave out images whose prediction is there, and maps with it.
        maps: names of what is to be written beside a prediction, as ``<name>_<map><ending>``.
        endings: of predictions (``pred``) and of maps by their names, in place of those by the images'.

    Returns:
        A dictionary an image: ``image`` (a path, or a list of paths: its channels), ``output`` (a path), and
        ``output_<map>`` for each map.

    Raises:
        ValueError: where nothing is found, saying what is there; for channels that are not complete; and for
            predictions of two images that would get one name (also to file systems that ignore case), or the name of
            an image.
    """
    output = Path(str(output_dir))
    if datalist is None:
        folder, images = Path(str(dataset_dir)), _in_folder(Path(str(dataset_dir)), pattern, output, in_channels)
    else:
        folder, images = _in_list(Path(datalist).absolute(), section, allow_outside)
    items: list[dict[str, Any]] = []
    told = endings or {}
    for files in images:
        place, case = output / _below(folder, files[0]).parent, _case(files)
        item: dict[str, Any] = {IMAGE: str(files[0]) if len(files) == 1 else [str(file) for file in files]}
        item[OUTPUT] = str(place / f"{case}_{_PREDICTION}{told.get(_PREDICTION, output_suffix(files[0]))}")
        for name in maps:
            item[MAP_OUTPUT.format(name)] = str(place / f"{case}_{name}{told.get(name, map_suffix(files[0]))}")
        items.append(item)
    raise_problems(_shared_names(items))
    if skip_existing:
        left = [item for item in items if not all(Path(target).exists() for target in _targets(item))]
        logger.info("%d of %d images have a prediction and are skipped.", len(items) - len(left), len(items))
        return left
    return items


def group_channels(files: Sequence[Path], in_channels: int) -> list[list[Path]]:
    """Files of one image each, the channels ``NAME_0000``, ``NAME_0001``, … of an image together.

    They are channels where there are several, some name ends in ``_0000`` and none in a number that no channel has:
    ``IMG_0001.jpg`` … ``IMG_0057.jpg`` are photographs.

    Raises:
        ValueError: naming images that lack a channel or have one twice.
    """
    numbered = {file: found for file in files if (found := _CHANNEL.fullmatch(stem_of(file)))}
    numbers = {int(found[2]) for found in numbered.values()}
    if in_channels == 1 or 0 not in numbers or max(numbers) >= in_channels:
        return [[file] for file in files]
    groups: dict[Path, list[Path]] = {}
    for file in files:
        groups.setdefault(file.with_name(numbered[file][1]) if file in numbered else file, []).append(file)
    problems = []
    for name, group in groups.items():
        got = sorted(int(numbered[file][2]) for file in group if file in numbered)
        if got and got != list(range(in_channels)):
            told = ", ".join(file.name for file in group)
            problems.append(f"expected {in_channels} files _0000 … (in_channels) of the image {name}, got {told}")
    raise_problems(problems)
    return [sorted(group) for group in groups.values()]


def _in_folder(folder: Path, pattern: str, output: Path, in_channels: int) -> list[list[Path]]:
    if not folder.is_dir():
        kind = "the file" if folder.exists() else "nothing at"
        hint = f"; --dataset_dir {folder.parent} --pattern {folder.name} takes it alone" if folder.exists() else ""
        raise ValueError(f"expected a folder of images (dataset_dir), got {kind} {folder}{hint}")
    if PurePath(pattern).is_absolute() or ".." in PurePath(pattern).parts:
        raise ValueError(f"expected a pattern of names in dataset_dir, got {pattern}")
    names = glob.glob(pattern, root_dir=folder, recursive=True)
    if not names and (folder / pattern).is_file():
        names = [pattern]  # brackets in it are no pattern
    others = [name for name in names if suffix_of(name).lower() not in SUFFIXES] if pattern.endswith("*") else []
    names = sorted(set(names) - set(others))
    ours = os.path.relpath(output.resolve(), folder.resolve())
    if ours != "." and not ours.startswith(".."):
        names = [name for name in names if not PurePath(name).is_relative_to(ours)]
    if not names:
        hint = '; a pattern like "*.dcm" takes files of other endings' if others else ""
        raise ValueError(
            f"expected images that match {pattern} (pattern) in {folder}, got none; {_contents(folder)}{hint}"
        )
    return group_channels([folder / name for name in names], in_channels)


def _in_list(path: Path, section: str, allow_outside: bool) -> tuple[Path, list[list[Path]]]:
    content = read_json(path, "a data list")
    if not content.get(section):
        others = [name for name, items in content.items() if isinstance(items, list) and items]
        raise ValueError(f"expected a section with images, got {section!r} (section) and {others} in {path}")
    images, problems = [], []
    for index, item in enumerate(section_of(content, section, path)):
        value = item.get(IMAGE) if isinstance(item, Mapping) else item
        where = f"{path}: {section}[{index}][{IMAGE!r}]"
        files, found = resolve(path.parent, value, where, allow_outside)
        problems += found
        images.append([Path(file) for file in ([files] if isinstance(files, str) else files or [])])
    raise_problems(problems)
    return path.parent, images


def _below(folder: Path, file: Path) -> Path:
    """The file in ``folder``; of one elsewhere, the name alone."""
    file = Path(os.path.normpath(file))
    return file.relative_to(folder) if file.is_relative_to(folder) else Path(file.name)


def _case(files: Sequence[Path]) -> str:
    """The name of an image without endings, and without the number of its first channel."""
    file = files[0]  # a DICOM series is a folder, its files may be named by a UID
    stem = stem_of(file) if re.search("[A-Za-z]", suffix_of(file)) and not file.is_dir() else file.name
    found = _CHANNEL.fullmatch(stem) if len(files) > 1 else None
    return found[1] if found else stem


def _shared_names(items: Iterable[Mapping[str, Any]]) -> list[str]:
    folders: dict[str, str] = {}

    def key(name: str) -> str:
        """Equal for names that some file systems take for one."""
        folder, file = os.path.split(name)
        real = folders.setdefault(folder, folder and os.path.realpath(folder))
        return unicodedata.normalize("NFC", os.path.join(real, file)).casefold()

    items = list(items)
    images = {key(file): file for item in items for file in _files(item)}
    taken: dict[str, str] = {}
    problems = []
    for name, target in ((_files(item)[0], target) for item in items for target in _targets(item)):
        if (other := taken.get(key(target))) is not None:
            problems.append(
                f"expected a name of its own for each prediction, got {target} for {other} and for {name}: "
                "rename one, or predict them one after the other (pattern) into two folders"
            )
        taken[key(target)] = name
        if (image := images.get(key(target))) is not None:
            problems.append(
                f"expected predictions that replace no image, got {image} as the prediction of {name}: "
                "another output_dir, or a pattern that leaves earlier predictions out"
            )
    return problems


def _targets(item: Mapping[str, Any]) -> list[str]:
    return [value for key, value in item.items() if key != IMAGE]


def _files(item: Mapping[str, Any]) -> list[str]:
    return item[IMAGE] if isinstance(item[IMAGE], list) else [item[IMAGE]]


def _contents(folder: Path) -> str:
    """What lies in a folder, and what that suggests."""
    entries = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    if not entries:
        return "the folder is empty"
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    hints = []
    if "dataset.json" in entries:  # whose folders hold label maps as well
        hints.append(f"--datalist {folder / 'dataset.json'} takes a section of that list")
    elif any(name.endswith("/") for name in entries):
        hints.append('--pattern "**/*" looks into folders')
    return "; ".join([f"there are {', '.join(entries[:_SHOWN])}{more}", *hints])
