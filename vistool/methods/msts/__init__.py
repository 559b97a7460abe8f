"""MS-STS: Multi-Scale Spatio-Temporal Split Attention Transformer (Thawakar et al., ECCV 2022), on SeqFormer."""
