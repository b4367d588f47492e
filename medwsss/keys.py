# SPDX-License-Identifier: Apache-2.0
"""The two label values that are not classes, and the names under which data travels."""

from __future__ import annotations

UNLABELED = 255  #: a voxel that exists but that nobody annotated
VOID = 254  #: a voxel that does not exist (padding, nodata, a declared void border): takes part in nothing

IMAGE = "image"
CASE = "case"  #: name of a case, of which a batch may hold several patches
GUIDE = "guide"  #: what contrast weights look at: the image before intensity augmentation and normalisation
SCRIBBLE = "scribble"
LABEL = "label"  #: dense mask
PSEUDO_LABEL = "pseudo_label"
TAGS = "tags"  #: of an image: 1 for each class that it shows, 0 for those it does not, NaN where nobody knows
SLICE = "slice"  #: of a volume, the number of the one that an item is
SLICE_AXIS = "slice_axis"  #: the axis that slices with tags lie across
PRIOR = "prior"  #: distribution over classes from elsewhere (an atlas, a class activation map) for each voxel
HELD_OUT = "held_out"  #: seeds set aside from the scribble, to score by
SCORES = "scores"  #: score maps of tags, of a network that predicts classes, too
LOGITS = "logits"  #: what it predicts them by
OTHER_LOGITS = "other_logits"  #: those of its second decoder
PRED = "pred"  #: class numbers that a network predicted
OUTPUT = "output"  #: path of the file that a prediction goes to
MAP_OUTPUT = "output_{}"  #: path of the file that a map beside it goes to, by the map's name
VOID_MASK = "void"  #: where, on the grid of its file, an image has no voxels
SETTINGS = "settings.json"  #: file beside a network's weights: what is to be known of it
FAILURE = "failure"  #: in place of a case that could not be read: what is wrong with it
RECIPE = "recipe.json"  #: file beside a data list: what a bundle is to do with the study
BUDGET = "budget.json"  #: file in a run's folder: minutes, how many are spent, and epochs that fit
