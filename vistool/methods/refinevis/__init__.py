"""RefineVIS: detect, associate, refine (2023)."""
