# SPDX-License-Identifier: Apache-2.0
"""Scribbles from dense masks, and shorter scribbles from long ones."""
