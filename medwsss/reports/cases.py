# SPDX-License-Identifier: Apache-2.0
"""Cases on a page: slices with layers that are switched on and off, and the switches, which are the legend, too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.colors import to_hex

from medwsss.keys import VOID
from medwsss.reports.markup import element
from medwsss.reports.overlays import ERRORS, overlay
from medwsss.reports.pictures import class_colors
from medwsss.reports.slices import CaseSlices

__all__ = ["article", "layers", "switches"]

_LAYERS = {
    "scribble": "strokes",
    "pseudo-label": "pseudo-label",
    "prediction": "prediction",
    "truth": "truth",
    "error": "errors",
}


def layers(names: Sequence[str], cases: Sequence[CaseSlices], strokes: bool = False) -> list[str]:
    """Switches of layers and classes.

    Args:
        names: of the classes, background first.
        cases: all that are on the page.
        strokes: the truth is one of strokes.
    """
    if not cases:
        return []
    shown = ["scribble", "prediction", "error"] if strokes else ["prediction", "truth", "error"]
    if any(len(of.pseudo) for of in cases):
        shown = list(_LAYERS)
    keys = {name: _sample(name, "#FFFFFF") for name in ("pseudo-label", "prediction", "truth")}
    boxes = [_switch(f"show-{name}", _LAYERS[name], keys.get(name, ""), name != "error") for name in shown]
    filled = strokes or "pseudo-label" in shown
    there = np.unique(np.concatenate([np.unique((of.pred, of.truth)) for of in cases]))
    for k in range(0 if filled else 1, len(names)):
        if k in there:
            color = to_hex(class_colors(k + 1)[-1])
            boxes.append(_switch(f"show-class-{k}", names[k], _sample("prediction", color)))
    meaning = {"missed": f"called {names[0]}", "added": f"should be {names[0]}", "confused": "of another class"}
    swatches = {name: element("rect", width=18, height=10, fill=color) for name, color in ERRORS.items()}
    kinds = ", ".join(f"{_key(area)} {name} ({escape(meaning[name])})" for name, area in swatches.items())
    lines = "" if strokes else "Solid lines are the prediction, dashed ones the truth. "
    if "pseudo-label" in shown:
        lines += "Dotted ones are the pseudo-label, which training cases have alone, as strokes, filled. "
    told = (
        f"{lines}Errors are the prediction's, as areas: {kinds}. Slices are those with most wrong voxels of each case, "
        "not typical ones. Grey values reach from the 1st to the 99th percentile of the whole volume."
    )
    show = element("fieldset", element("legend", "Show"), *boxes, class_="layers")
    return [show + "\n", element("p", told, class_="note") + "\n"]


def _switch(name: str, text: str, key: str = "", on: bool = True) -> str:
    box = element("input", type="checkbox", id=name, **({"checked": ""} if on else {}))
    return element("label", box, key, f" {escape(text)}")


def _key(drawn: str) -> str:
    return element("svg", drawn, class_="key", viewBox="0 0 18 10", aria_hidden="true")


def _sample(layer: str, color: str) -> str:
    return _key(element("path", class_=layer, d="M2 5H16", stroke=color))


def switches(names: Sequence[str]) -> str:
    """Rules without which nothing could be switched: what a box that is not ticked hides."""
    ids = [*_LAYERS, *(f"class-{k}" for k in range(len(names)))]
    return "".join(f"body:has(#show-{name}:not(:checked)) .slices .{name} {{ display: none; }}\n" for name in ids)


def article(title: str, about: str, of: CaseSlices, strokes: bool = False) -> str:
    """Slices of a case.

    Args:
        title: its heading.
        about: what is to be said of it, as HTML.
        of: its slices.
        strokes: the truth is one of strokes.
    """
    figures = []
    area = of.step[0] * of.step[1] / 100 if of.unit == "mm" else 0
    pseudo = of.wrong_pseudo() if len(of.pseudo) else None
    for i, (number, wrong) in enumerate(zip(of.numbers, of.wrong())):
        place = f"slice {number} of {of.count}" if of.count > 1 else "whole image"
        amount = f"{wrong} pixels wrong" + (f", {wrong * area:.1f} cm²" if area else "")
        if pseudo is not None:
            amount += f"; {pseudo[i]} of the pseudo-label"
        if not strokes and not ((of.truth[i] > 0) & (of.truth[i] < VOID)).any():
            amount += ", nothing but background in the truth"
        label = f"{title}, {place}, {amount}"
        figures.append(element("figure", overlay(of, i, label, strokes), element("figcaption", f"{place}: {amount}")))
    sides = (
        "Letters are the patient's sides by the file's header."
        if of.sides
        else "Shown as stored: the file does not say how the patient lies, left and right may be swapped."
    )
    if not of.unit:
        sides = ""
    if of.thickness:
        sides += f" Slices are {of.thickness:g} {escape(of.unit)} apart."
    slices = element("div", *figures, class_="slices")
    return element("article", element("h3", escape(title)), element("p", f"{about} {sides}"), slices) + "\n"
