"""Contents of explore.html; how it works in a browser stands in test_explore_browser.py."""

import base64
import dataclasses
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from silot_tf.errors import UserError
from silot_tf.reporting import explore
from silot_tf.reporting.drawing import track_colour
from silot_tf.reporting.examples import Objects, View, read_examples
from silot_tf.reporting.explore_data import edit_entries, sheet, sprite_sheets, tracks
from silot_tf.reporting.report import Report
from tests.reporting.synthetic import sprite_colour, write_explore_page, write_further, write_run


def data_of(path) -> dict:
    source = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', source, re.S)[1])


def rewrite(run, **changes) -> None:
    """Change or (with None) drop arrays of the example clips."""
    path = run / "results" / "examples.npz"
    arrays = {**np.load(path), **changes}
    np.savez_compressed(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", rows=0, frames=6, explorable=True)


@pytest.fixture(scope="module")
def page(run):
    return write_explore_page(run, title="Rings & <b>things</b>")


def frames_of(entry, height, width, count, mode="RGB"):
    """Frames of a sheet, decoded."""
    _, data = entry["source"].split(",")
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert(mode))
    rows = image.reshape(-1, height, entry["columns"], width, len(mode)).swapaxes(1, 2)
    return rows.reshape(-1, height, width, len(mode))[:count]


@pytest.mark.parametrize(("count", "height", "width"), [(1, 5, 7), (8, 48, 48), (5, 21, 16)])
def test_sheets_hold_every_frame_without_loss(count, height, width):
    frames = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    entry = sheet(frames, first=3)
    assert entry["first"] == 3 and entry["source"].startswith("data:image/webp;base64,")
    assert entry["size"] == [height, width]
    np.testing.assert_array_equal(frames_of(entry, height, width, count), frames)


def test_sheets_of_sprites_keep_their_opacity_without_loss():
    sprites = np.random.default_rng(0).integers(0, 256, (7, 14, 10, 4), np.uint8)
    sprites[2:4, ..., 3], sprites[4] = 255, 0
    found = frames_of(sheet(sprites), 14, 10, 7, "RGBA")
    np.testing.assert_array_equal(found[..., 3], sprites[..., 3])
    visible = sprites[..., 3] > 0
    np.testing.assert_array_equal(found[visible], sprites[visible])


def test_large_frames_are_compressed_to_what_a_page_can_carry():
    rng = np.random.default_rng(0)
    waves = 128 + 90 * np.sin(np.arange(240)[:, None] / 20) * np.cos(np.arange(320) / 30)
    frames = np.clip(waves + rng.normal(0, 5, (4, 240, 320)), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)
    entry = sheet(frames)
    assert len(entry["source"]) < 30_000 * len(frames)
    error = frames_of(entry, 240, 320, 4).astype(float) - frames
    assert np.sqrt((error**2).mean()) < 6


def objects(track_id, pres, is_new, boxes=None):
    track_id, pres, is_new = np.array(track_id), np.array(pres, float), np.array(is_new, bool)
    if boxes is None:
        boxes = np.tile([0.5, 0.25, 0.2, 0.1], (*pres.shape, 1))
    return Objects(boxes, pres, track_id, is_new, depth=pres / 2)


def test_a_track_is_followed_below_the_threshold_until_its_slot_has_a_new_object():
    # slot 0: object 4, which fades after two frames; a new object with id 7 takes the slot in frame 4
    found = tracks(
        objects(
            [[4], [4], [-1], [-1], [7]], [[0.9], [0.8], [0.4], [0.001], [0.95]], [[1], [0], [0], [0], [1]]
        ),
        0.5,
    )  # fmt: skip
    assert [track["id"] for track in found] == [4, 7]
    fading, fresh = found
    assert fading["first"] == 0 and fading["pres"] == [900, 800, 400] and fading["shown"] == [1, 1, 0]
    assert fading["boxes"] == [[5000, 2500, 2000, 1000]] * 3
    assert fading["depth"] == [450, 400, 200] and fading["fresh"] == [1, 0, 0]
    assert fresh["first"] == 4 and fresh["shown"] == [1] and fresh["fresh"] == [1]
    assert fading["colour"] == "#{:02x}{:02x}{:02x}".format(*track_colour(4))


def test_a_track_may_change_its_slot_and_miss_a_frame():
    found = tracks(
        objects([[0, 1], [-1, 0], [-1, -1], [0, 1]], [[1, 1], [0, 1], [0, 0], [1, 1]], np.zeros((4, 2))), 0.5
    )
    zero, one = found
    assert zero["shown"] == [1, 1, 0, 1] and zero["boxes"][2] is None and zero["pres"][2] is None
    assert one["shown"] == [1, 0, 0, 1]


def test_boxes_that_are_no_numbers_or_very_far_are_harmless():
    boxes = np.array([[[np.nan, 0, 1, 1]], [[1e30, 0.5, np.inf, 1]], [[1e30, 0.5, 0.1, 0.1]], [[0.5, 0.5, 0.1, 0.1]]])
    (track,) = tracks(objects([[0]] * 4, [[0.9], [np.nan], [0.9], [0.9]], [[1], [0], [0], [0]], boxes), 0.5)
    assert track["boxes"] == [None, None, [90000, 5000, 1000, 1000], [5000, 5000, 1000, 1000]]
    assert track["pres"] == [900, None, 900, 900]
    json.dumps(track, allow_nan=False)


def test_clips_of_the_page_are_those_of_the_run(page, run):
    entries, clips = data_of(page)["clips"], read_examples(run / "results" / "examples.npz").clips
    assert [entry["title"] for entry in entries] == ["1 digit", "2 digits", "3 digits"]
    for entry, clip in zip(entries, clips, strict=True):
        assert entry["frames"] == 6 and entry["size"] == [24, 24]
        np.testing.assert_array_equal(frames_of(entry["input"], 24, 24, 6), clip.video)
        assert [view["key"] for view in entry["views"]] == ["posterior", "rollout"]
        assert [view["unseen"] for view in entry["views"]] == [None, 3]
        for view, mode in zip(entry["views"], ("", "rollout_"), strict=True):
            np.testing.assert_array_equal(frames_of(view["sheet"], 24, 24, 6), clip.views[mode].reconstruction)
        assert len(entry["truth"]) == int(clip.truth.pres[0].sum())
        assert [baseline["name"] for baseline in entry["baselines"]] == ["connected components"]


def test_sprites_are_those_of_each_track(page):
    for entry in data_of(page)["clips"]:
        for view, prefix in zip(entry["views"], ("", "rollout_"), strict=True):
            assert view["tracks"]
            for track in view["tracks"]:
                count, first = len(track["boxes"]), track["first"]
                assert track["sprites"]["size"] == [4, 6] and track["sprites"]["first"] == first
                found = frames_of(track["sprites"], 4, 6, count, "RGBA")
                assert np.all(found[:, :, :3, 3] == 255) and not found[:, :, 3:, 3].any()
                expected = sprite_colour(track["id"], first + np.arange(count), prefix)[:, None, None]
                np.testing.assert_array_equal(found[:, :, :3, :3], np.broadcast_to(expected, (count, 4, 3, 3)))
        assert not [track for edit in entry["edits"] for track in edit["tracks"] if track["sprites"]]


def test_sprites_follow_a_track_that_changes_its_slot_or_misses_a_frame(run):
    clip = read_examples(run / "results" / "examples.npz").clips[0]
    followed = objects([[0, -1], [-1, -1], [-1, 0]], [[1, 0], [0, 0], [0, 1]], np.zeros((3, 2)))
    sprites = np.arange(1, 7, dtype=np.uint8).reshape(3, 2, 1, 1, 1) * np.uint8(40) * np.ones((2, 3, 4), np.uint8)
    sprites[..., 3] = 255
    view = View(clip.video, dataclasses.replace(followed, sprites=sprites))
    ((entry,), others) = sprite_sheets(
        dataclasses.replace(clip, views={"": view, "rollout_": View(clip.video, None)}), 0.5
    )
    assert others == []
    found = frames_of(entry, 2, 3, 3, "RGBA")
    np.testing.assert_array_equal(found[:, 0, 0], [[40, 40, 40, 255], [0, 0, 0, 0], [240, 240, 240, 255]])


def test_edits_begin_with_the_first_unseen_frame_and_keep_the_past(page):
    entry = data_of(page)["clips"][2]
    plain = {track["id"]: track for track in entry["views"][1]["tracks"]}
    kinds = [(edit["object"], edit["kind"], edit["shift"]) for edit in entry["edits"]]
    assert kinds == [(j, kind, shift) for j in (0, 1) for kind, shift in (("removed", [0, 0]), ("moved", [0, 0.1]))]
    for place, edit in enumerate(entry["edits"]):
        assert edit["sheet"]["first"] == 3
        assert np.unique(frames_of(edit["sheet"], 24, 24, 3)) == 40 + 20 * place
        edited = {track["id"]: track for track in edit["tracks"]}
        mine, others = edit["object"], set(plain) - {edit["object"]}
        assert all(edited[i]["boxes"] == plain[i]["boxes"] for i in others)
        seen = 3 - plain[mine]["first"]
        assert edited[mine]["boxes"][:seen] == plain[mine]["boxes"][:seen]
        if edit["kind"] == "removed":
            assert len(edited[mine]["boxes"]) == seen
        else:
            moved = np.array(edited[mine]["boxes"][seen:]) - np.array(plain[mine]["boxes"][seen:])
            np.testing.assert_allclose(moved, np.tile([0, 1000, 0, 0], (3, 1)), atol=1)


def test_edits_that_moved_nothing_are_left_out(run):
    clip = read_examples(run / "results" / "examples.npz").clips[2]
    still = [edit.__class__(edit.track_id, edit.is_removed, (0.0, 0.01), edit.view) for edit in clip.what_ifs]
    clip = clip.__class__(**{**clip.__dict__, "what_ifs": tuple(still)})
    assert [entry["kind"] for entry in edit_entries(clip, 0.5)] == ["removed", "removed"]


def test_only_the_programs_of_the_page_may_run_and_text_cannot_break_out(page, tmp_path):
    source = page.read_text(encoding="utf-8")
    assert "<b>things" not in source and "Rings &amp; &lt;b&gt;things" in source
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.S)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', source)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")
    assert not re.search(r'(src|href)="(?!data:|index\.html)', source) and "url(" not in source
    evil = "</script><script>alert(1)</script>"
    run = write_run(tmp_path / "run", rows=0, conditions={evil: 1}, clips=1, frames=4)
    attacked = write_explore_page(run).read_text(encoding="utf-8")
    assert attacked.count("<script") == source.count("<script") == 2
    assert data_of(run / "report" / "explore.html")["clips"][0]["title"] == evil


def test_older_runs_make_a_page_that_says_what_was_not_recorded(tmp_path):
    page = write_explore_page(write_run(tmp_path / "run", rows=0))
    for entry in data_of(page)["clips"]:
        assert entry["edits"] == [] and entry["baselines"] == []
        assert all(track["depth"] is track["sprites"] is None for view in entry["views"] for track in view["tracks"])
    assert "without recording depth" in page.read_text()


def test_runs_without_roll_out_annotation_or_boxes_make_a_page(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    names = list(np.load(run / "results" / "examples.npz"))
    dropped = [n for n in names if n.startswith(("rollout", "truth")) or n in ("boxes", "pres", "track_id", "is_new")]
    rewrite(run, **dict.fromkeys(dropped))
    for entry in data_of(write_explore_page(run))["clips"]:
        assert entry["truth"] is None
        assert [(view["key"], view["tracks"]) for view in entry["views"]] == [("posterior", None)]


def test_report_writes_the_page_beside_itself_and_links_it(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    report = Report(max_clips=0, max_explored_clips=1, metrics=(), labels={"connected_components": "blobs"}).write(run)
    assert [entry["title"] for entry in data_of(report.with_name("explore.html"))["clips"]] == ["1 digit"]
    assert 'href="explore.html"' in report.read_text()


def test_a_run_without_examples_says_so_and_is_not_linked(tmp_path):
    report = Report(max_clips=1).write(write_run(tmp_path / "run", rows=0, evaluated=False))
    source = report.with_name("explore.html").read_text()
    assert "No example clips" in source and "--mode=evaluate" in source and "<script" not in source
    assert "explore.html" not in report.read_text()


def test_clips_of_further_tests_come_after_those_of_the_tests(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    write_further(run, frames=12)
    titles = [entry["title"] for entry in data_of(write_explore_page(run))["clips"]]
    assert titles == [
        "1 digit",
        "2 digits",
        "3 digits",
        *(f"Longer clips, {n}" for n in ("1 digit", "2 digits", "3 digits")),
    ]


def test_long_clips_end_and_large_pages_leave_clips_out(tmp_path, monkeypatch):
    monkeypatch.setattr(explore, "LONGEST", 4)
    run = write_run(tmp_path / "run", rows=0, frames=6, explorable=True)
    page = write_explore_page(run)
    assert all(entry["frames"] == 4 and entry["edits"] == [] for entry in data_of(page)["clips"])
    assert "more than 4 frames" in page.read_text()
    monkeypatch.setattr(explore, "LONGEST", 200)
    whole = len(json.dumps(data_of(write_explore_page(run))["clips"]))
    monkeypatch.setattr(explore, "MOST_BYTES", whole // 4)
    entries = data_of(write_explore_page(run))["clips"]
    assert 1 <= len(entries) < 3 and len(json.dumps(entries)) < whole / 3
    assert "left out to keep this page small" in page.read_text()


def test_sprites_are_left_out_before_clips_are(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", rows=0, frames=6, explorable=True)
    entries = data_of(write_explore_page(run))["clips"]
    plain = sum(len(json.dumps({**clip_without_sprites(entry), "edits": []})) for entry in entries)
    monkeypatch.setattr(explore, "MOST_BYTES", plain)
    page = write_explore_page(run)
    assert [clip_without_sprites(entry) for entry in data_of(page)["clips"]] == [
        {**clip_without_sprites(entry), "edits": []} for entry in entries
    ]
    assert "Decoded objects of" in page.read_text() and "what-if roll-outs of" in page.read_text()


def clip_without_sprites(entry) -> dict:
    views = [{**view, "tracks": [{**track, "sprites": None} for track in view["tracks"]]} for view in entry["views"]]
    return {**entry, "views": views}


def test_sprites_that_do_not_fit_are_refused_in_one_line(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    rewrite(run, sprites=np.zeros((3, 5, 3, 2, 2, 4), np.uint8))
    with pytest.raises(UserError, match=r"do not fit together \(sprites \(5, 3, 2, 2, 4\), pres \(5, 4\)\)"):
        write_explore_page(run)


def test_boxes_that_are_no_numbers_are_told(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    boxes = np.load(run / "results" / "examples.npz")["boxes"].copy()
    boxes[0, 2] = np.nan
    rewrite(run, boxes=boxes)
    page = write_explore_page(run)
    data_of(page)
    assert "not finite" in page.read_text()
