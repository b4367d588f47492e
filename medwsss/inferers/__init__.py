# SPDX-License-Identifier: Apache-2.0
"""How whole images go through a network."""

from __future__ import annotations

from medwsss.inferers.multi_scale import MultiScaleInferer

__all__ = ["MultiScaleInferer"]
