"""A format of one's own, a box a line: python examples/custom_writer.py video.mp4 boxes.csv"""

import csv
import sys
from pathlib import Path

import vistool
from vistool import masks


class BoxTable:
    """Boxes as they are settled; the file gets its name when the last one is in."""

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_name(path.name + ".partial")
        self.file = self.partial.open("w", newline="")
        self.rows = csv.writer(self.file)
        self.rows.writerow(["frame", "time_s", "track", "label", "x", "y", "width", "height"])

    def write_frame(self, frame: vistool.Frame, prediction: vistool.FramePrediction) -> None:
        for track_id, label, rle in zip(prediction.track_ids, prediction.labels, prediction.masks, strict=True):
            self.rows.writerow([frame.index, f"{frame.time_s:.3f}", track_id, label, *masks.box_xywh(rle)])

    def finish(self, result: vistool.VideoPrediction) -> None:
        self.file.close()
        self.partial.replace(self.path)

    def close(self) -> None:
        self.file.close()
        self.partial.unlink(missing_ok=True)


source = vistool.open_video(sys.argv[1])
ranking, table = vistool.Ranking(conf=0.3), BoxTable(Path(sys.argv[2]))
vistool.run(source, vistool.load_model("ifr"), [table], mode="offline", window=8, overlap=4, ranking=ranking)
