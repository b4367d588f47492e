# SPDX-License-Identifier: Apache-2.0
"""From the label convention of a source to classes, UNLABELED and VOID."""
