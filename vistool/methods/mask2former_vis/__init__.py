"""Mask2Former for video instance segmentation (Cheng et al., 2021): one query an object, joint space-time attention."""
