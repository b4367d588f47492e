# SPDX-License-Identifier: Apache-2.0
"""The folder that ``nnUNet_extTrainer`` names. nnU-Net imports every file in it, so there is but one."""
