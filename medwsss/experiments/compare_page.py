# SPDX-License-Identifier: Apache-2.0
"""``comparison.html``: the tables of a comparison and curves of its trainings, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from medwsss.experiments.grid import Setting
from medwsss.reports.charts import read_scalars, svg
from medwsss.reports.markup import element
from medwsss.reports.page import page, section, table
from medwsss.reports.results import Line

__all__ = ["write_comparison"]

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  #: titles and rows
Study = tuple[Sequence[Table], str, Sequence[str], Sequence[Line]]  #: tables, legend, failures, lines

POINTS = 100  #: of a curve, each the mean of as many iterations


def write_comparison(output: Path, studies: Mapping[str, Study]) -> None:
    """Write the page beside the runs.

    Args:
        output: the comparison's folder.
        studies: name → tables, what they mean, what failed, and the lines of the runs.
    """
    parts = []
    for name, (tables, legend, failures, lines) in studies.items():
        body = [_table(caption, *of) for caption, of in zip(("Methods", "Classes"), tables) if of[0]]
        body.append(element("p", escape(legend), class_="note") + "\n")
        body += [element("p", escape(text), class_="error-text") + "\n" for text in failures]
        parts.append(section(name, *body, *_curves(output, lines)))
    page(output / "comparison.html", "Comparison of methods", parts)


def _table(caption: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(caption, [escape(title) for title in titles], [[escape(cell) for cell in row] for row in rows])


def _curves(output: Path, lines: Sequence[Line]) -> Iterator[str]:
    """Loss of each method's first run, on axes of its own: losses of two methods are not comparable."""
    for line in {line["method"]: line for line in reversed(lines) if "failure" not in line}.values():
        folder = output / Setting(line["study"], line["method"], line["seed"]).folder / "tensorboard"
        scalars = read_scalars(folder)
        if "train_loss" in scalars:
            steps, values = scalars["train_loss"]
            few = max(1, len(steps) // POINTS)
            parts = [slice(start, start + few) for start in range(0, len(steps) - few + 1, few)]
            means = [sum(values[part]) / few for part in parts]
            figure = Figure(figsize=(3.2, 2.2), layout="constrained")
            axes = figure.subplots()
            axes.plot([steps[part][-1] for part in parts], means)
            axes.set(title=line["method"], xlabel="iteration", ylabel="training loss")
            yield svg(figure, f"training loss of {line['method']}: from {means[0]:.4g} to {means[-1]:.4g}")
