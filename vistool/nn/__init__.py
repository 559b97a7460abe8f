"""Blocks that two methods share. Tensors in, tensors out; nothing here knows frames, files or tracks.

Shape letters, everywhere: B batch (clips), T frames, Q queries (slots), N instances, K classes, D channels, H W pixels
of the input, h w of a feature map, P = h·w or a number of points, L predictions of one step (initial queries and every
layer).
"""
