# SPDX-License-Identifier: Apache-2.0
"""A study on disk: its data list, its files, what their values mean, and what is wrong with them."""

from __future__ import annotations
