"""How good predictions are. Takes the files that others read and write; knows no network and no video."""

from __future__ import annotations

METRICS = {
    "ap": "AP and AR of whole tracks, as YouTube-VIS and OVIS count them",
    "identity": "IDF1, MOTA and switches, as py-motmetrics counts them",
    "hota": "HOTA on masks, as TrackEval counts it",
    "attributes": "AP on videos with fast motion, change of size or shape, occlusion",
    "errors": "what AP50 loses to each kind of error",
}
"""What can be asked for."""
