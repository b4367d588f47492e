# SPDX-License-Identifier: Apache-2.0
"""Pages that need nothing else: one file, no scripts, nothing fetched; and that of a check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from torch import Tensor

from medwsss.files import write_atomically
from medwsss.reports.markup import data_url, element, png
from medwsss.reports.pictures import render

__all__ = ["page", "picture_of", "section", "table", "write_page"]

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body</main>
</body>
</html>
""")


def page(path: Path, title: str, body: Iterable[str], style: str = "") -> None:
    """Write a page.

    Args:
        path: the file.
        title: its heading.
        body: pieces of HTML.
        style: rules beside those of all pages.
    """
    style = files("medwsss.reports").joinpath("page.css").read_text("utf-8") + style
    text = _PAGE.substitute(title=escape(title), style=style, body="".join(body))
    write_atomically(memoryview(text.encode()), path)


def section(title: str, *body: str) -> str:
    """Pieces of HTML below a heading; nothing without any."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(body)}</section>\n" if any(body) else ""


def table(caption: str, titles: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Cells are HTML, the first of each row is its heading. What is too wide for the screen is moved sideways."""
    cells = ([element("th", first, scope="row"), *(element("td", cell) for cell in rest)] for first, *rest in rows)
    content = element(
        "table",
        element("caption", element("span", escape(caption))),
        element("thead", element("tr", *(element("th", title, scope="col") for title in titles))),
        element("tbody", "\n", *(element("tr", *line) + "\n" for line in cells)),
        class_=kind,
    )
    return element("div", content, class_="scroll", role="region", tabindex=0, aria_label=caption) + "\n"


def picture_of(
    class_names: Sequence[str], title: str, image: Tensor, scribble: Tensor | None, mask: Tensor | None
) -> bytes:
    """PNG of an image beside its scribble and mask."""
    return png(render(image, class_names=class_names, scribble=scribble, label=mask, title=title))


def write_page(
    path: Path,
    title: str,
    tables: Mapping[str, str],
    plan: str,
    errors: Sequence[str],
    warnings: Sequence[str],
    pictures: Sequence[tuple[str, str, bytes]],
) -> None:
    """Write the page of a check.

    Args:
        path: the file.
        title: name of the study.
        tables: text a section.
        plan: text about training.
        errors: what keeps one from training.
        warnings: what one ought to know.
        pictures: section, file name and PNG of some cases.
    """
    parts = [f"<p>{len(errors)} errors, {len(warnings)} warnings</p>\n"]
    told = [(kind, text) for kind, texts in (("error", errors), ("warning", warnings)) for text in texts]
    if told:
        items = (element("li", f"{kind}: {escape(text)}", class_=f"{kind}-text") for kind, text in told)
        parts.append(element("ul", *items))
    parts += [f"<pre>{escape(text)}</pre>\n" for text in [*tables.values(), plan] if text]
    figures = [
        element(
            "figure",
            element("img", alt=f"{part}: {name}", src=data_url(picture)),
            element("figcaption", escape(f"{part}: {name}")),
        )
        for part, name, picture in pictures
    ]
    parts.append(element("div", "\n", *figures, class_="sheet"))
    page(path, title, parts)
