"""Follow objects while a video is still being read: ffmpeg … -f mpegts - | python examples/streaming.py -

Frames are settled a few behind the newest one, and nothing is kept of those that are done.
"""

import sys

import vistool


class Printer:
    """A writer is any object with these three methods."""

    def write_frame(self, frame: vistool.Frame, prediction: vistool.FramePrediction) -> None:
        ids = " ".join(str(track_id) for track_id in prediction.track_ids)
        print(f"{frame.time_s:8.3f} s  frame {frame.index:5d}  tracks: {ids or '-'}", flush=True)

    def finish(self, result: vistool.VideoPrediction) -> None:
        print(f"{len(result.tracks)} tracks in {len(result.times_s)} frames")

    def close(self) -> None:
        pass


source = vistool.open_video(sys.argv[1])
ranking = vistool.Ranking(conf=0.3)
vistool.run(source, vistool.load_model("ifr"), [Printer()], mode="offline", window=8, overlap=4, ranking=ranking)
source.close()
