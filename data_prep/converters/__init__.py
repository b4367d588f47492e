# SPDX-License-Identifier: Apache-2.0
"""One module a data set or layout."""

from __future__ import annotations
