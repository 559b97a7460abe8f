"""Hybrid instance-aware temporal fusion: a few ordered slots describe a frame and look back at earlier ones."""
