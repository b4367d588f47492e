# SPDX-License-Identifier: Apache-2.0
"""The report of a check as one page that needs nothing else: tables, problems, and a contact sheet of cases."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.image import imsave
from torch import Tensor

from medwsss.reports.pictures import render

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 80em; margin: 2em auto; padding: 0 1em; }}
pre {{ background: #f4f4f4; padding: 1em; overflow: auto; }}
.error {{ color: #b00020; }} .warning {{ color: #8a5a00; }}
.sheet {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(24em, 1fr)); gap: 1em; }}
figure {{ margin: 0; }} img {{ max-width: 100%; }} figcaption {{ font-size: 13px; overflow-wrap: anywhere; }}
</style>
<h1>{title}</h1>
"""


def picture_of(
    class_names: Sequence[str], title: str, image: Tensor, scribble: Tensor | None, mask: Tensor | None
) -> bytes:
    """PNG of an image beside its scribble and mask."""
    stream = io.BytesIO()
    imsave(stream, render(image, class_names=class_names, scribble=scribble, label=mask, title=title), format="png")
    return stream.getvalue()


def write_page(
    path: Path,
    title: str,
    tables: Mapping[str, str],
    plan: str,
    errors: Sequence[str],
    warnings: Sequence[str],
    pictures: Sequence[tuple[str, str, bytes]],
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: name of the study.
        tables: text a section.
        plan: text about training.
        errors: what keeps one from training.
        warnings: what one ought to know.
        pictures: section, file name and PNG of some cases.
    """
    parts = [_HEAD.format(title=escape(title)), f"<p>{len(errors)} errors, {len(warnings)} warnings</p>\n<ul>\n"]
    for kind, texts in (("error", errors), ("warning", warnings)):
        parts += ['<li class="%s">%s</li>\n' % (kind, escape(text)) for text in texts]
    parts.append("</ul>\n")
    parts += [f"<pre>{escape(text)}</pre>\n" for text in [*tables.values(), plan] if text]
    parts.append('<div class="sheet">\n')
    for section, name, picture in pictures:
        data = base64.b64encode(picture).decode()
        caption = escape(f"{section}: {name}")
        parts.append('<figure><img alt="%s" src="data:image/png;base64,%s">' % (caption, data))
        parts.append(f"<figcaption>{caption}</figcaption></figure>\n")
    parts.append("</div>\n</html>\n")
    path.write_text("".join(parts), encoding="utf-8")
