# SPDX-License-Identifier: Apache-2.0
"""What a data list declares about its label values: read once, the same for whoever works on the list."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from monai.config import PathLike
from monai.utils import ensure_tuple

from medwsss.files import read_json
from medwsss.keys import UNLABELED, VOID
from medwsss.study.mapping import MapWeakLabels
from medwsss.study.schema import SCHEMAS, LabelSchema

__all__ = ["declared_labels", "label_mapper", "label_names", "read_class_names", "read_schema"]

_FIELDS = tuple(f.name for f in fields(LabelSchema))
_SYNONYMS = {
    "ignore_values": ("ignore_values", "ignore_value", "ignore", "ignore_label", "scribble_ignore_value"),
    "void_values": ("void_values", "void_value"),
}
_REMEDY = (
    'labels name the classes by the values that they have in the files ({"1": "road", "2": "water"}), and '
    "ignore_values and void_values are other values than those; mapping ({value: class}) or schema says the rest"
)


def label_names(content: Mapping[str, Any]) -> dict[int, str]:
    """``{value: name}`` of ``labels``: Decathlon's ``{"0": "background"}`` or nnU-Net's ``{"background": 0}``.

    Raises:
        ValueError: where they are something else.
    """
    names: dict[int, str] = {}
    labels = content.get("labels", {})
    if not isinstance(labels, Mapping):
        raise ValueError(f"expected labels of numbers and names, got {labels!r}")
    for key, value in labels.items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        try:
            names[int(number)] = str(name)
        except (TypeError, ValueError):
            raise ValueError(f"expected labels of numbers and names, got {key!r}: {value!r}") from None
    return names


def read_schema(path: PathLike, **given: Any) -> LabelSchema:
    """What the label values of a data list mean, by its own declaration and nothing else.

    That is ``schema`` (the name of one of :py:data:`medwsss.transforms.SCHEMAS`, or arguments of
    :py:class:`medwsss.transforms.LabelSchema`); ``labels``, ``num_classes``, ``ignore_value(s)`` (nnU-Net calls one of
    its labels ``ignore``), ``void_value(s)``, ``mapping`` and ``colors`` say the same or what it does not say. Where
    ``labels`` name other values than 0 … K−1, those are the classes in their order.

    Args:
        path: the data list.
        given: arguments of ``LabelSchema`` that win over the list's, or ``schema``, a name.

    Raises:
        ValueError: where nothing tells the number of classes, or the declarations contradict each other.
    """
    return _complete(*_known(path, given), path)


def declared_labels(path: PathLike, **fallback: Any) -> LabelSchema:
    """:py:func:`read_schema`, and what the list does not say: ``fallback``.

    Where neither says which values are no class, 255 is unlabelled and 254 void, as the project writes them itself.

    Args:
        path: the data list.
        fallback: ``num_classes``, ``ignore_values``, ``void_values``; values to which the list gives a meaning of
            their own keep that.
    """
    known, names = _known(path, {})
    known.setdefault("num_classes", fallback.get("num_classes"))
    defaults = {} if known.keys() & _SYNONYMS.keys() else {"ignore_values": UNLABELED, "void_values": VOID}
    for name in _SYNONYMS.keys() - known.keys():
        if known.get("colors") is None:
            taken = _complete(known, names, path).table()
            known[name] = [v for v in ensure_tuple(fallback.get(name, defaults.get(name, ()))) if v not in taken]
    return _complete(known, names, path)


def label_mapper(path: PathLike, **overrides: Any) -> MapWeakLabels:
    """What maps the label values of a data list, for training, evaluation and the commands alike.

    Args:
        path: the data list.
        overrides: ``num_classes``, ``ignore_values``, ``void_values`` (and ``schema``, a name) that somebody gave.
            They stand in for what the list does not say, and replace what it says.

    Warns:
        UserWarning: naming what of the list they replace.
    """
    if "schema" in overrides:
        return MapWeakLabels.of(read_schema(path, **overrides))
    schema = declared_labels(path, **overrides)
    replaced = {k: v for k, v in overrides.items() if _plain(k, v) != _plain(k, getattr(schema, k))}
    for name, value in replaced.items():
        warnings.warn(f"{name} {value} replaces {getattr(schema, name)}, which {path} declares", stacklevel=2)
    return MapWeakLabels.of(read_schema(path, **overrides) if replaced else schema)


def read_class_names(path: PathLike, num_classes: int) -> list[str]:
    """Names of the classes by the list's ``labels`` (either way round, by value or by class), else ``class k``."""
    known, names = _known(path, {"num_classes": num_classes})
    found = class_names(names, _complete(known, names, path))
    return [found.get(k, f"class {k}") for k in range(num_classes)]


def class_names(names: Mapping[int, str], schema: LabelSchema) -> dict[int, str]:
    """``{class: name}`` of ``{value or class: name}``.

    Raises:
        ValueError: for names of neither all values nor classes.
    """
    table: dict[Any, int] = schema.table()
    classes = range(schema.num_classes)
    if set(names) != set(classes) and set(names) <= set(table):
        return {table[value]: name for value, name in names.items() if table[value] in classes}
    if not set(names) <= set(classes):
        raise ValueError(f"expected labels of classes {list(classes)} or of values {list(table)}, got {dict(names)}")
    return dict(names)


def _known(path: PathLike, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[int, str]]:
    """The arguments of ``LabelSchema`` that are declared, and the names of values or classes."""
    content = whole = read_json(path, "a data list")
    if "schema" in given:  # whatever else the list says of values is another convention
        content = {k: content[k] for k in ("labels", "num_classes") if k in content}
    named = given.get("schema", content.get("schema"))
    told = {k: content[k] for k in ("num_classes", "mapping", "colors") if content.get(k) is not None}
    try:
        names = label_names(content)
        if len(set(names.values())) < len(content.get("labels", ())):
            raise ValueError(f"expected one name for each value in labels, got {content['labels']}")
        if "schema" in given:
            others = {v for keys in _SYNONYMS.values() for key in keys for v in _values(whole.get(key) or (), False)}
            names = {value: name for value, name in names.items() if value not in others}
        for field, synonyms in _SYNONYMS.items():
            found = [content[key] for key in synonyms if content.get(key) is not None]
            if found:
                told[field] = sorted({v for value in found for v in _values(value, "colors" in told)})
        if ignored := [value for value, name in names.items() if name.lower() == "ignore"]:
            told["ignore_values"] = sorted({*told.get("ignore_values", ()), *ignored})
        if (count := given.get("num_classes")) is not None:
            told["num_classes"] = count
            if named is None and len(_own(names, told)) != count:  # of another number of classes
                names = {value: name for value, name in names.items() if value in range(count)}
        known = _with_labels(told, names) if named is None else _with_schema(named, told, names)
    except ValueError as error:
        raise ValueError(f"{error} in {path}: {_REMEDY}") from error
    return known | {k: v for k, v in given.items() if k != "schema"}, names


def _own(names: Mapping[int, str], told: Mapping[str, Any]) -> list[int]:
    """The values among ``names`` that are no others'."""
    return sorted(names.keys() - {v for field in _SYNONYMS for v in _plain(field, told.get(field, ()))})


def _with_labels(told: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """Where no schema is declared, labels may say the number of classes and the values that they have."""
    known = dict(told)
    own = _own(names, known)
    if zero := [value for value in names.keys() - set(own) if names[value].lower() == "background"]:
        raise ValueError(f"expected value {zero[0]} to mean one thing, got 'background' and no class")
    count = len(known.get("colors", ())) or len(set(known.get("mapping", {}).values())) or len(own)
    if count:
        known.setdefault("num_classes", count)
    if own and not known.keys() & {"mapping", "colors"}:
        classes = range(known["num_classes"])
        if len(own) == len(classes) and own != list(classes):
            known["mapping"] = {value: k for k, value in enumerate(own)}
        elif not set(own) <= set(classes):
            raise ValueError(f"expected {len(classes)} classes (num_classes), got labels {dict(names)}")
    return known


def _with_schema(named: Any, told: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """What a schema says, checked against what else is told."""
    if isinstance(named, str):
        known = {name: getattr(_by_name(named, told, names), name) for name in _FIELDS}
    elif isinstance(named, Mapping) and named.keys() <= set(_FIELDS):
        known = dict(named)
    else:
        raise ValueError(f"expected a name or the arguments of LabelSchema as schema, got {named!r}")
    for name in told.keys() & known.keys():
        mine, theirs = _plain(name, told[name]), _plain(name, known[name])
        if not (mine <= theirs if name in _SYNONYMS else mine == theirs):
            raise ValueError(f"expected what the schema {named!r} says of {name}, {known[name]}, got {told[name]}")
    return known if isinstance(named, str) else _with_labels({**told, **known}, names)


def _by_name(named: str, told: Mapping[str, Any], names: Mapping[int, str]) -> LabelSchema:
    """The schema of a name, told what it takes: the number of classes (by the labels, too) and colours."""
    if named not in SCHEMAS:
        raise ValueError(f"expected a schema of {sorted(SCHEMAS)}, got {named!r}")
    takes = inspect.signature(SCHEMAS[named]).parameters
    own = _own(names, told)
    guess = {"num_classes": len(own)} if own else {}
    arguments = {**guess, **{k: v for k, v in told.items() if k in takes}}
    if "ignore" in takes and told.get("ignore_values"):
        (arguments["ignore"],) = told["ignore_values"][:1]
    if missing := [k for k, p in takes.items() if p.default is p.empty and k not in arguments]:
        raise ValueError(f"expected what the schema {named!r} needs, got no {', '.join(missing)}")
    try:
        return SCHEMAS[named](**arguments)
    except ValueError:
        if "num_classes" in told:
            raise
        return SCHEMAS[named](**{k: v for k, v in arguments.items() if k != "num_classes"})  # labels name more values


def _complete(known: Mapping[str, Any], names: Mapping[int, str], path: PathLike) -> LabelSchema:
    if known.get("num_classes") is None:
        raise ValueError(f"expected num_classes or labels in the data list (or --num-classes), got none in {path}")
    try:
        schema = LabelSchema(**known)
        class_names(names, schema)
    except ValueError as error:
        raise ValueError(f"{error} in {path}: {_REMEDY}") from error
    return schema


def _values(value: Any, colors: bool) -> tuple[Any, ...]:
    """Each of the values (or colours) of a declaration, which may be one alone."""
    values = ensure_tuple(value)
    if colors and values and not isinstance(values[0], (list, tuple)):
        values = (values,)
    try:
        return tuple(tuple(map(int, v)) if colors else int(v) for v in values)
    except (TypeError, ValueError):
        raise ValueError(f"expected {'colours' if colors else 'numbers'} of no class, got {value!r}") from None


def _plain(name: str, value: Any) -> Any:
    """A value of a declaration, to be compared: however it was written, and values in whatever order."""
    if name in _SYNONYMS:
        values = ensure_tuple(value)
        return {tuple(v) if isinstance(v, (list, tuple)) else v for v in values}
    if name == "mapping":
        return value and {int(k): v for k, v in value.items()}
    return value and tuple(map(tuple, value)) if name == "colors" else value
