"""Instance As Identity: the network paints who is where into its memory, and reads on the next frame who is who."""
