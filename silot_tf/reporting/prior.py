"""Clips that models drew from their priors, as one picture per model: a row per clip, time from left to right."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from silot_tf.evaluation.results import FOLDER, PRIOR_FILE
from silot_tf.reporting import videos
from silot_tf.reporting.drawing import draw_objects, upscale
from silot_tf.reporting.examples import Clip, read_examples
from silot_tf.reporting.runs import Run
from silot_tf.reporting.sections import Gallery
from silot_tf.reporting.tables import plural
from silot_tf.reporting.videos import BACKGROUND, MARGIN, MAX_STRIP_FRAMES, ClipStyle


def prior_section(gallery: Gallery, groups: Mapping[str, Sequence[Run]], style: ClipStyle) -> list[dict]:
    """Entries for the page, one per group whose first evaluated run has such clips: `title`, `picture`.

    Args:
      gallery: takes the pictures.
      groups: name to print -> runs.
      style: how to draw them.
    """
    entries = []
    for place, (label, runs) in enumerate(groups.items()):
        run = next((run for run in runs if (run.folder / FOLDER / PRIOR_FILE).is_file()), None)
        if run is None:
            continue
        clips = read_examples(run.folder / FOLDER / PRIOR_FILE).clips
        picture = sheet(clips, style)
        alt = f"{plural(len(clips), 'clip')} of {len(clips[0].video)} frames that {label} drew from its prior"
        name = f"prior_{place}.png"
        entries.append(
            {
                "title": f"{label}, {run.name}",
                "picture": gallery.picture(name, videos.to_png(picture), alt, *picture.size),
            }
        )
    return entries


def sheet(clips: Sequence[Clip], style: ClipStyle) -> Image.Image:
    """The frames of every clip in a row, with the boxes that the model drew; long clips are thinned."""
    factor = max(1, style.factor(clips[0]) // 2)
    high, wide = (n * factor for n in clips[0].video.shape[1:3])
    times = np.unique(np.linspace(0, len(clips[0].video) - 1, MAX_STRIP_FRAMES).round().astype(int))
    size = (MARGIN + len(times) * (wide + MARGIN), MARGIN + len(clips) * (high + MARGIN))
    picture = Image.new("RGB", size, BACKGROUND)
    for row, clip in enumerate(clips):
        for column, t in enumerate(times):
            panel = upscale(clip.video[t], factor)
            objects = clip.views[""].objects
            if objects is not None:
                draw_objects(panel, objects, t, threshold=style.threshold, tags=False, width=1)
            picture.paste(panel, (MARGIN + column * (wide + MARGIN), MARGIN + row * (high + MARGIN)))
    return picture
