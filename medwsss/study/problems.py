# SPDX-License-Identifier: Apache-2.0
"""All that is wrong at once, in one error, before work starts."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["raise_problems"]


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one ``ValueError`` that lists all ``problems``, a line each; nothing where there are none."""
    if problems:
        raise ValueError(f"expected usable data, got {len(problems)} problems:\n" + "\n".join(problems))
