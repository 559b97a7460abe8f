"""Segment a video from Python and say what was found: python examples/tracks.py video.mp4"""

import sys

import vistool

model = vistool.load_model("ifr")  # the bundled weights, which know procedural shapes
source = vistool.open_video(sys.argv[1])
ranking = vistool.Ranking(conf=0.3)
result = vistool.run(source, model, mode="offline", window=8, overlap=4, ranking=ranking)
source.close()

for track in result.tracks:
    name = result.categories[track.label].name
    first, last = min(track.masks), max(track.masks)
    print(f"track {track.id}: {name} {track.score:.2f}, frames {first} to {last}, visible on {len(track.masks)}")
