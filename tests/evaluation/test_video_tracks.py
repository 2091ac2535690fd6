import sys

import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.evaluation import hota, video_tracks
from silot_tf.mot_challenge import TrackRows


def truth_rows():
    """Two objects in ten frames."""
    return TrackRows.of([(t, k, 10 * k + t, 5 * k, 6, 12, 1) for t in range(1, 11) for k in (1, 5)])


def test_perfect_tracks_score_one_whatever_their_ids():
    truth = truth_rows()
    found = TrackRows(truth.frame, truth.track_id + 30, truth.boxes, truth.presence)
    scores = video_tracks.score(found, truth, 10)
    assert scores["mota"] == scores["idf1"] == 1 and scores["ground_truth"] == 20 and scores["tracks"] == 2
    assert scores["misses"] == scores["false_positives"] == scores["switches"] == 0
    assert scores["objects_per_frame"] == 2 and scores["track_frames"] == 10
    assert set(scores) <= set(video_tracks.protocol())


def test_missed_frames_false_boxes_and_exchanged_ids_are_counted():
    truth = truth_rows()
    ids = np.where(truth.frame > 5, 6 - truth.track_id, truth.track_id)  # 1 and 5 change places: two switches
    found = TrackRows(truth.frame, ids, truth.boxes.copy(), truth.presence)
    found.boxes[0] += (80, 0, 0, 0)
    scores = video_tracks.score(found, truth, 10)
    assert (scores["misses"], scores["false_positives"], scores["switches"]) == (1, 1, 2)
    assert scores["mota"] == pytest.approx(1 - 4 / 20)


def test_silent_tracker_misses_everything():
    scores = video_tracks.score(TrackRows.of([]), truth_rows(), 10)
    assert scores["mota"] == 0 and scores["misses"] == 20 and scores["tracks"] == 0 and scores.get("hota", 0) == 0


def test_boxes_of_exactly_half_overlap_may_match():
    truth, found = TrackRows.of([(1, 1, 0, 0, 10, 10, 1)]), TrackRows.of([(1, 1, 0, 0, 10, 5, 1)])
    assert video_tracks.score(found, truth, 1)["mota"] == 1


def test_hota_is_one_for_perfect_and_known_for_split_tracks():
    pytest.importorskip("trackeval", reason="HOTA needs TrackEval, see the extra 'hota'")
    truth = truth_rows()
    assert video_tracks.score(truth, truth, 10)["hota"] == pytest.approx(1)
    # Each object under one id in its first, another in its second half: association 1/2, detection 1.
    found = TrackRows(truth.frame, truth.track_id + 100 * (truth.frame > 5), truth.boxes, truth.presence)
    scores = video_tracks.score(found, truth, 10)
    assert scores["deta"] == pytest.approx(1) and scores["assa"] == pytest.approx(0.5)
    assert scores["hota"] == pytest.approx(np.sqrt(0.5)) and scores["loca"] == pytest.approx(1)


def test_without_trackeval_everything_else_is_scored(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackeval", None)
    monkeypatch.setitem(sys.modules, "trackeval.metrics", None)
    monkeypatch.setitem(sys.modules, "trackeval.metrics.hota", None)
    scores = video_tracks.score(truth_rows(), truth_rows(), 10)
    assert scores["mota"] == 1 and "hota" not in scores and not hota.is_available()


def test_tracks_are_read_back_and_other_files_refused(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text("frame,id,x,y,width,height,presence\n1,2,3.5,4,5,6,0.75\n")
    rows = video_tracks.read_tracks(path)
    assert (
        rows.track_id.tolist() == [2] and rows.boxes.tolist() == [[3.5, 4, 5, 6]] and rows.presence.tolist() == [0.75]
    )
    for content in ("", "a,b\n1,2\n", "frame,id,x,y,width,height,presence\n1,2,3\n"):
        path.write_text(content)
        with pytest.raises(UserError, match="cannot be read as tracks"):
            video_tracks.read_tracks(path)
