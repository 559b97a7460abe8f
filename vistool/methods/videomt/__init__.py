"""VidEoMT (2026): a plain image transformer whose queries travel from frame to frame. The network is transformers'."""
