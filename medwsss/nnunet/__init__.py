# SPDX-License-Identifier: Apache-2.0
"""Soft self-labeling inside nnU-Net (extra ``nnunet``): a trainer that nnU-Net finds, and what it is made of.

Nothing here is imported by the rest of the library; :mod:`medwsss.nnunet.trainer` alone needs nnU-Net.
"""
