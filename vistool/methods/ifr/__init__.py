"""IFR: Consistent Video Instance Segmentation with Inter-Frame Recurrent Attention (You et al., 2022)."""
