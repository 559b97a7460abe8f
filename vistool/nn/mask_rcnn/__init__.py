"""Mask R-CNN (He et al., ICCV 2017) on a feature pyramid: boxes are proposed first, then named, refined and masked."""
