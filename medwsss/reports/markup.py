# SPDX-License-Identifier: Apache-2.0
"""Elements of HTML and SVG."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from matplotlib.image import imsave

__all__ = ["data_url", "element", "png"]


def png(picture: np.ndarray) -> bytes:
    """The file of ``H × W × 3`` colours."""
    stream = io.BytesIO()
    imsave(stream, np.ascontiguousarray(picture), format="png")
    return stream.getvalue()


def data_url(file: bytes) -> str:
    """A PNG inside the page."""
    return "data:image/png;base64," + base64.b64encode(file).decode()


def element(name: str, *content: str, **attributes: object) -> str:
    """One element; content is markup, attributes are text, ``class_`` and ``font_size`` stand for class and font-size.

    Example:
        >>> element("g", element("path", d="M0 0H1"), class_="a<b", font_size=3)
        '<g class="a&lt;b" font-size="3"><path d="M0 0H1"/></g>'
    """
    pairs = ((key.rstrip("_").replace("_", "-"), escape(str(value))) for key, value in attributes.items())
    head = name + "".join(' %s="%s"' % pair for pair in pairs)
    return f"<{head}>{''.join(content)}</{name}>" if content else f"<{head}/>"
