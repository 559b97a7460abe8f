"""CondInst (Tian et al., ECCV 2020) on FCOS: points of a pyramid find objects and bring the kernels of their masks."""
