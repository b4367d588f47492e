# SPDX-License-Identifier: Apache-2.0
"""What a run or a study looks like to a person: pictures, tables and pages, made from data alone."""

from __future__ import annotations
