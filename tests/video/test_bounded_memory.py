from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WRITE_AND_READ = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from vistool.video import open_video
from vistool.video.writing import VideoWriter

path, count = Path(sys.argv[1]), int(sys.argv[2])
image = np.zeros((360, 640, 3), np.uint8)
with VideoWriter(path, image.shape[:2], frame_rate=Fraction(25)) as writer:
    for index in range(count):
        image[index % 360] = index % 256
        writer.write(image, index / 25)
    writer.finish()
with open_video(path) as source:
    assert sum(1 for _ in source) == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(path: Path, count: int) -> int:
    command = [sys.executable, "-c", WRITE_AND_READ, str(path), str(count)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_writing_and_reading_take_no_more_memory_for_a_longer_video(tmp_path: Path) -> None:
    short, long = peak_memory(tmp_path / "short.mp4", 60), peak_memory(tmp_path / "long.mp4", 300)

    assert long < 1.15 * short
