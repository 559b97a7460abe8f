"""Matching and losses of IFR: Mask2Former's, plus the cross-frame term of Eq. (7)."""

from __future__ import annotations
