"""IDOL's detector: CondInst's mask head on Deformable DETR, with a contrastive head for association."""
