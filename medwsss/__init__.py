"""Standard segmentation networks from scribbles: soft self-labeling on MONAI, in 2-D and 3-D."""

__version__ = "0.1.0"
