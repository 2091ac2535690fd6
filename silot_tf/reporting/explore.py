"""The page to look into a trained model: a player of example clips with everything that is known about each object.

It is one file that needs no server and no network: frames are pictures inside it, boxes are JSON, and its program is
the only one that its content security policy lets run. Drawing is done on canvases and SVG by hand: what it takes is
shorter than a plotting library with its licence.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

import markupsafe

from silot_tf.evaluation.results import EXAMPLES_FILE, FOLDER, FURTHER, read_further
from silot_tf.reporting import pages
from silot_tf.reporting.examples import Clip, read_examples, spread_over_conditions
from silot_tf.reporting.explore_data import clip_entry, edit_entries, sprite_sheets
from silot_tf.reporting.runs import Run
from silot_tf.reporting.sections import MODE_TITLES
from silot_tf.reporting.videos import ClipStyle

PAGE = "explore.html"
#: What pictures and boxes of a page may come to, in bytes; the first clip is always there.
MOST_BYTES = 4_500_000
LONGEST = 200  # frames; longer clips end there
_SCRIPTS = ("explore_drawing.js", "explore_charts.js", "explore_appearance.js", "explore.js")


def explore_page(
    groups: Mapping[str, Sequence[Run]], *, title: str, labels: Mapping[str, str], count: int, style: ClipStyle
) -> tuple[str, int]:
    """Text of the page, and how many clips it shows: those of the first run of each group that has any.

    Args:
      groups: name to print -> runs, which are seeds of one training condition.
      title: heading.
      labels: baseline -> name to print, where another one is wanted.
      count: clips per group, and per further test of it.
      style: threshold of presence, speed, and first unseen frame of clips that do not say.

    Raises:
      UserError: if a file of clips is damaged.
    """
    found = list(_clips(groups, count))
    clips, left_out, size = [], 0, 0
    for heading, clip in found:
        clip = _shortened(clip)
        entry = clip_entry(clip, heading, style.threshold, style.rollout_from, MODE_TITLES)
        if clips and size + _size(entry) > MOST_BYTES:
            left_out += 1
            continue
        for baseline in entry["baselines"]:
            baseline["name"] = labels.get(baseline["name"].replace(" ", "_"), baseline["name"])
        size += _size(entry)
        clips.append((entry, clip))
    bare = 0
    for entry, clip in clips:  # plain views of all clips come first, then sprites of all, and edits at last
        sheets = sprite_sheets(clip, style.threshold)
        if size + _size(sheets) > MOST_BYTES:
            bare += 1
            continue
        for view, own in zip(entry["views"], sheets, strict=True):
            for track, sprites in zip(view["tracks"] or (), own, strict=True):
                track["sprites"] = sprites
        size += _size(sheets)
    cut = 0
    for entry, clip in clips:
        edits = edit_entries(clip, style.threshold) if not cut else []
        if cut or size + _size(edits) > MOST_BYTES:
            cut += bool(clip.what_ifs)
            continue
        entry["edits"] = edits
        size += _size(edits)
    data = {
        "clips": [entry for entry, _ in clips],
        "threshold": style.threshold,
        "framesPerSecond": style.frames_per_second,
    }
    script = "\n".join(map(pages.template_text, _SCRIPTS))
    page = pages.render(
        "explore.html",
        title=title,
        style=markupsafe.Markup(pages.template_text("explore.css")),
        script=markupsafe.Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        data=markupsafe.Markup(_json(data)),
        clips=[entry["title"] for entry, _ in clips],
        notes=_notes(found, clips, left_out, bare, cut),
    )
    return page, len(clips)


def _clips(groups: Mapping[str, Sequence[Run]], count: int) -> Iterator[tuple[str, Clip]]:
    """(heading, clip): tests first, further tests after them."""
    named = len(groups) > 1
    for label, runs in groups.items():
        yield from _clips_of(runs, f"{FOLDER}/{EXAMPLES_FILE}", count, label if named else "")
    for label, runs in groups.items():
        titles = {name: str(test["title"]) for run in runs for name, test in read_further(run.folder).items()}
        for name, title in titles.items():
            parts = [label if named else "", title]
            heading = ", ".join(part for part in parts if part)
            yield from _clips_of(runs, f"{FOLDER}/{FURTHER}/{name}.npz", count, heading)


def _clips_of(runs: Sequence[Run], file: str, count: int, heading: str) -> Iterator[tuple[str, Clip]]:
    run = next((run for run in runs if (run.folder / file).is_file()), None)
    if run is None:
        return
    seen: dict[str, int] = {}
    for clip in spread_over_conditions(read_examples(run.folder / file).clips, count):
        what = clip.condition or "clip"
        seen[what] = seen.get(what, 0) + 1
        parts = [heading, what + (f" ({seen[what]})" if seen[what] > 1 else "")]
        if len(clip.video):
            yield ", ".join(part for part in parts if part), clip


def _shortened(clip: Clip) -> Clip:
    """The clip, or what is shown of one that is too long."""
    return clip if len(clip.video) <= LONGEST else clip.first_frames(LONGEST)


def _notes(found: list, clips: list, left_out: int, bare: int, cut: int) -> list[str]:
    """What readers should know about what is missing, one sentence each."""
    notes = []
    where = f"{FOLDER}/{EXAMPLES_FILE}"
    if left_out:
        notes.append(f"{left_out} further clips are left out to keep this page small; they are in {where}.")
    if bare:
        notes.append(f"Decoded objects of {bare} clips are left out to keep this page small; they are in {where}.")
    if cut:
        notes.append(f"The what-if roll-outs of {cut} clips are left out to keep this page small; see {where}.")
    if any(len(clip.video) > LONGEST for _, clip in found):
        notes.append(f"Clips of more than {LONGEST} frames end there.")
    entries = [entry for entry, _ in clips]
    if entries and not any(track["depth"] for e in entries for view in e["views"] for track in view["tracks"] or ()):
        notes.append("This run was evaluated without recording depth: --mode=evaluate records it.")
    if any(None in track["boxes"] and 1 in _without(track) for e in entries for track in _tracks_of(e)):
        notes.append("Some boxes are not finite numbers; they are not drawn.")
    return notes


def _tracks_of(entry: dict) -> Iterator[dict]:
    for view in (*entry["views"], *entry["edits"]):
        yield from view["tracks"] or ()


def _without(track: dict) -> list[int]:
    """Whether the object counts as there, in frames without a box."""
    return [shown for box, shown in zip(track["boxes"], track["shown"], strict=True) if box is None]


def _size(value) -> int:
    return len(_json(value))


def _json(value) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
