"""Boxes of one frame: cut, shrunk, and without doubles."""

import numpy as np
import pytest

from silot_tf.evaluation import frame_tracks
from silot_tf.evaluation.frame_tracks import FrameTracks


def tracks_of(*boxes):
    """Boxes given as (id, left, top, width, height)."""
    table = np.array(boxes, float).reshape(-1, 5)
    left, top, width, height = table[:, 1:].T
    edges = np.stack([top, top + height, left, left + width], axis=-1)
    return FrameTracks(np.arange(len(table)), table[:, 0].astype(int), edges, np.linspace(0.9, 0.6, len(table)))


def test_boxes_shrink_to_the_foreground_inside_of_them():
    foreground = np.zeros((20, 30), bool)
    foreground[5:15, 10:16] = True  # at half the size of the frame: rows 10 to 30, columns 20 to 32
    foreground[2, 12] = True  # a speck
    loose, crossing, empty = (1, 15, 3, 21, 35), (2, 27, 21, 20, 30), (3, 45, 3, 9, 9)
    found = frame_tracks.tightened(tracks_of(loose, crossing, empty), foreground, (40, 60))
    expected = tracks_of((1, 20, 10, 12, 20), (2, 27, 21, 5, 9), empty)
    np.testing.assert_allclose(found.edges, expected.edges)
    np.testing.assert_array_equal(found.track_id, [1, 2, 3])


def test_of_two_boxes_around_one_object_the_older_stays():
    second, first = (9, 12, 10, 20, 40), (4, 10, 10, 20, 40)  # IoU 18 / 22
    beside, third = (2, 25, 10, 20, 40), (11, 14, 10, 20, 40)  # IoU 16 / 24 with the first
    tracks = tracks_of(second, first, beside, third)

    def kept(most_overlap):
        return frame_tracks.without_doubles(tracks, most_overlap).track_id.tolist()

    assert kept(0.5) == [4, 2]
    assert kept(0.7) == [4, 2, 11]  # the second, left out, hides no third
    assert kept(0.85) == kept(1.0) == [9, 4, 2, 11]
    assert len(frame_tracks.without_doubles(tracks_of(), 0.5)) == 0


def test_boxes_are_cut_to_the_frame_and_vanish_outside():
    objects = {
        "where": np.array([[0, 0.5, 0.5, 0.25], [1.5, 0.5, 0.5, 0.25], [0.5, 0.5, 0.1, 0.1]]),
        "pres": np.array([[0.9], [0.9], [0.2]]),
        "track_id": np.array([4, 5, -1]),
    }
    found = frame_tracks.of_outputs(objects, (100, 200))
    assert found.slot.tolist() == [0] and found.track_id.tolist() == [5]  # counted from 1
    assert found.edges.tolist() == [[0.0, 25.0, 75.0, 125.0]] and found.presence.tolist() == [0.9]
    assert found.where((100, 200))[0] == pytest.approx([0.125, 0.5, 0.25, 0.25])
