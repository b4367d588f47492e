# SPDX-License-Identifier: Apache-2.0
"""What all converters share."""

from __future__ import annotations
