"""MaskDINO: Towards A Unified Transformer-based Framework for Object Detection and Segmentation (Li et al., 2023)."""
