# SPDX-License-Identifier: Apache-2.0
"""``make figures``: the paper's Figures 1, 2 and 3 drawn from the code, into ``docs/figures``."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import torch  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from torch import Tensor  # noqa: E402

from medwsss.terms.cross_entropies import CROSS_ENTROPIES  # noqa: E402
from medwsss.terms.relaxations import RELAXATIONS  # noqa: E402
from tests.benchmarks.label_corruption import LOSSES, RECORD  # noqa: E402

Term = Callable[[Tensor, Tensor], Tensor]

# Okabe and Ito's colours, told apart with any colour vision; red, green and blue as in the paper
RED, GREEN, BLUE, BLACK = "#D55E00", "#009E73", "#0072B2", "#000000"
TABLE_1 = ("bilinear", "quadratic", "normalized_quadratic")
TABLE_2 = ("collision_cross_entropy", "log_quadratic", "collision_divergence")
CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)  # A, B, C


def moves(t: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Figure 1's two moves at times ``t`` from 0 to 1 (``T``): ``y_i`` and ``y_j``, each ``1 3 T``."""
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    a_to_b, c_to_b = torch.stack([1 - t, t, zero]), torch.stack([zero, t, 1 - t])
    at_a = torch.stack([one, zero, zero])
    return {"a": (a_to_b[None], a_to_b[None]), "b": (at_a[None], c_to_b[None])}


def binary(term: Term, first: Tensor, second: Tensor) -> Tensor:
    """``term((a, 1 − a), (b, 1 − b))`` for numbers ``a`` and ``b`` of one shape."""
    p, q = (torch.stack([x, 1 - x])[None] for x in (first, second))
    return term(p, q)[0]


def potential(name: str, logits_i: Tensor, logits_j: Tensor) -> Tensor:
    """``P`` as a function of Figure 2's logits, ``x = 1 / (1 + e^{−2l})``."""
    return binary(RELAXATIONS[name], (2 * logits_i).sigmoid(), (2 * logits_j).sigmoid())


def title(panel: str, name: str) -> str:
    return f"({panel}) {name.replace('_', ' ')}"


def figure_1() -> plt.Figure:
    figure, axes = plt.subplots(2, 2, figsize=(8, 6.5), height_ratios=(3, 2), layout="constrained")
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    captions = {"a": "(a) inside an object: both from A to B", "b": "(b) at a boundary: i stays A, j from C to B"}
    for (panel, (y_i, y_j)), (simplex, curves) in zip(moves(t).items(), axes.T):
        simplex.fill(*CORNERS.T, facecolor="none", edgecolor=BLACK)
        for letter, corner, shift in zip("ABC", CORNERS, ((-0.06, -0.03), (0.06, -0.03), (0.06, 0.03))):
            simplex.text(*(corner + torch.tensor(shift)), letter, ha="center", va="center")
        side = 0.02 if torch.equal(y_i, y_j) else 0.0  # equal labels side by side
        for name, y, color, shift in (("$y_i$", y_i, RED, -side), ("$y_j$", y_j, BLUE, side)):
            path = y[0].T @ CORNERS + torch.tensor([0, shift])
            simplex.annotate("", path[-1], path[0], arrowprops={"arrowstyle": "->", "color": color})
            simplex.plot(*path[[0, 50, 100]].T, "o", color=color, label=name)
        simplex.set_title(captions[panel], pad=16)
        simplex.set_aspect("equal")
        simplex.axis("off")
        simplex.legend(loc="upper left")
        for name, color, style in zip(TABLE_1, (RED, BLUE, BLACK), ("-", "--", ":")):
            curves.plot(t, RELAXATIONS[name](y_i, y_j)[0], style, color=color, lw=2, label=name.replace("_", " "))
        curves.set(xlabel="share of the move done", ylabel="$P(y_i, y_j)$", ylim=(-0.05, 1.05))
        curves.set_yticks([0, 0.5, 0.75, 1])
        curves.grid(alpha=0.3)
    axes[1, 0].legend()
    return figure


def figure_2() -> plt.Figure:
    figure = plt.figure(figsize=(11, 13), layout="constrained")
    x = torch.meshgrid(*[torch.linspace(0, 1, 201, dtype=torch.float64)] * 2, indexing="ij")
    logits = torch.meshgrid(*[torch.linspace(-3, 3, 61, dtype=torch.float64)] * 2, indexing="ij")
    for place, (panel, name) in enumerate(zip("abcdef", TABLE_1 + TABLE_2)):
        step, top, beyond = (0.1, 1.0, "neither") if name in TABLE_1 else (0.25, 3.0, "max")
        row, column = divmod(place, 3)
        surface = figure.add_subplot(4, 3, 6 * row + column + 1, projection="3d")
        surface.plot_surface(*logits, potential(name, *logits).numpy(), cmap="cividis", vmin=0, vmax=top)
        surface.set(title=title(panel, name), xlabel="logit $l_i$", ylabel="logit $l_j$", zlabel="$P$")
        surface.set_box_aspect(None, zoom=0.9)
        surface.view_init(30, -120)
        contours = figure.add_subplot(4, 3, 6 * row + column + 4)
        levels = torch.arange(0, top + step / 2, step).tolist()
        filled = contours.contourf(*x, binary(RELAXATIONS[name], *x), levels, cmap="cividis", extend=beyond)
        contours.contour(*x, binary(RELAXATIONS[name], *x), levels, colors="white", linewidths=0.6)
        contours.set(xlabel="$x_i$", ylabel="$x_j$", aspect="equal")
        figure.colorbar(filled, ax=contours, shrink=0.8, label="$P$")
    return figure


def figure_3_abc() -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharey=True, layout="constrained")
    x = torch.linspace(0, 1, 2001, dtype=torch.float64)
    labels = {1.0: (BLACK, ":"), 0.9: (RED, "-"), 0.7: (GREEN, "--"), 0.5: (BLUE, "-.")}
    for panel, name, axis in zip("abc", LOSSES, axes):
        for y, (color, style) in labels.items():
            values = binary(CROSS_ENTROPIES[name], torch.full_like(x, y), x)
            axis.plot(x, values, style, color=color, lw=2, label=f"y = ({y:.1f}, {1 - y:.1f})")
            if values.max() - values.min() > 1e-9:
                axis.plot(x[values.argmin()], values.min(), "o", color=color, clip_on=False, zorder=3)
        axis.set(title=title(panel, name), xlabel=r"$x$ of $\sigma = (x, 1 - x)$", xlim=(0, 1), ylim=(0, 4))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(r"$H(y, \sigma)$, dots: minima")
    axes[0].legend()
    return figure


def figure_3d() -> plt.Figure:
    runs = json.loads(RECORD.read_text())["runs"]
    networks = list(dict.fromkeys(run["network"] for run in runs))
    figure, axes = plt.subplots(1, len(networks), figsize=(10, 4.2), sharey=True, squeeze=False, layout="constrained")
    styles = dict(zip(LOSSES, ((RED, "-o"), (GREEN, "--s"), (BLUE, "-.^"))))
    for (axis, network), loss in product(zip(axes[0], networks), LOSSES):
        color, style = styles[loss]
        plot_mean(axis, [run for run in runs if (run["network"], run["loss"]) == (network, loss)], color, style)
        axis.set(title=f"(d) {network}", xlabel=r"training images with a random label, $\eta$ [%]", ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("test accuracy [%]")
    axes[0, 0].legend([loss.replace("_", " ") for loss in LOSSES], loc="lower left")
    return figure


def plot_mean(axis: Axes, runs: list[dict], color: str, style: str) -> None:
    """Mean over seeds against η; the bars are the standard deviation between seeds."""
    etas = sorted({run["eta"] for run in runs})
    groups = [torch.tensor([run["accuracy"] for run in runs if run["eta"] == eta]) for eta in etas]
    means, bars = [group.mean() for group in groups], [group.std() for group in groups]
    axis.errorbar([100 * eta for eta in etas], means, bars, fmt=style, color=color, capsize=3)


def main() -> None:
    for draw in (figure_1, figure_2, figure_3_abc, figure_3d):
        draw().savefig(RECORD.with_name(f"{draw.__name__}.png"), dpi=100)


if __name__ == "__main__":
    main()
