# SPDX-License-Identifier: Apache-2.0
"""What every method of a comparison may spend: a number of iterations, or of minutes of training."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from copy import copy

from medwsss.experiments.grid import Run, carry_out
from medwsss.experiments.runs import finished

__all__ = ["iterations_of", "parsed_budget"]


def parsed_budget(text: str) -> tuple[float, str]:
    """Number and unit of ``600it`` or ``10min``.

    Raises:
        ValueError: for anything else.

    Example:
        >>> parsed_budget("600it"), parsed_budget("2.5min")
        ((600.0, 'it'), (2.5, 'min'))
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(it|min)", text)
    if found is None or not float(found[1]) or (found[2] == "it" and "." in found[1]):
        raise ValueError(f"expected a budget of iterations or minutes, as in 600it and 10min, got {text!r}")
    return float(found[1]), found[2]


def iterations_of(probes: Sequence[Run], minutes: float, arguments: argparse.Namespace) -> Mapping[str, int]:
    """Iterations that each method does in so many minutes, by the time of a step in a short training of its own.

    Starting and validating don't count. The short trainings are beside the output folder and are done once, so a
    comparison that is continued has the same numbers. A method whose short training fails has one iteration.
    """
    probing = copy(arguments)
    probing.output = arguments.output.with_name(f"{arguments.output.name}_probes")
    carry_out(probes, lambda lines, output: f"{len(lines)} short trainings to time a step", probing, keep_going=True)
    of = {line["method"]: line.get("step_seconds") for line in finished(probing.output)}
    return {
        name: max(1, int(60 * minutes / (of[name] or 60 * minutes))) for name in (run.setting.method for run in probes)
    }
