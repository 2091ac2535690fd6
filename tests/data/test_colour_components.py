"""Labels by colour against a hand-drawn sequence, and against a flood fill and an exhaustive search written here."""

import itertools

import numpy as np
import pytest

from silot_tf.data.colour_components import PARAMETERS, label_frames

COLOURS = {".": (0, 0, 0), "R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}

# Columns: colour, (top, bottom, left, right), id; worked out by hand.
HAND_DRAWN = [
    (
        """
        RR..........
        RR...G.G....
        ............
        ...BR.......
        ............
        ...........B
        """,
        [
            ("B", (2, 4, 2, 4), 0),  # touches the R, which is another colour
            ("B", (4, 5, 10, 11), 1),  # in the corner there is no room for the half pixel below and to the right
            ("G", (0, 2, 4, 8), 2),  # a gap of one pixel is bridged
            ("R", (-1, 2, -1, 2), 3),
            ("R", (2, 4, 3, 5), 4),
        ],
    ),
    (
        """
        .RR.........
        .RR..G..G...
        ............
        ..B.........
        ............
        ............
        """,
        [
            ("B", (2, 4, 1, 3), 0),
            # A gap of two is not bridged. The right half keeps the id although the left one is nearer to where the G
            # was: the left one is paired with the R that vanished (distance 2.2; for the right one, 4.3 to the B).
            ("G", (0, 2, 4, 6), 5),
            ("G", (0, 2, 7, 9), 2),
            ("R", (-1, 2, 0, 3), 3),
        ],
    ),
    ("............\n" * 6, []),
    (
        """
        .RR.........
        .RR..G..G...
        ............
        ..B.........
        ............
        ............
        """,
        # The same as before the gap, under fresh ids.
        [("B", (2, 4, 1, 3), 6), ("G", (0, 2, 4, 6), 7), ("G", (0, 2, 7, 9), 8), ("R", (-1, 2, 0, 3), 9)],
    ),
    (
        """
        RR..........
        RR...G.....B
        ......G.....
        ............
        ............
        ............
        """,
        [
            ("B", (0, 2, 10, 11), 6),  # no distance is too far
            ("G", (0, 3, 4, 7), 7),  # touching at a corner is touching
            ("R", (-1, 2, -1, 2), 9),
        ],
    ),
]


def drawn(*pictures) -> np.ndarray:
    """`[E,H,W,3]` uint8 from letters."""
    return np.array([[[COLOURS[c] for c in line] for line in text.split()] for text in pictures], np.uint8)


def listed(labels, frame) -> list:
    """(colour, box, id) of the valid objects of a frame."""
    rows = np.flatnonzero(labels["valid"][frame])
    return [
        (tuple(labels["colour"][frame, k]), tuple(labels["boxes"][frame, k]), int(labels["track_id"][frame, k]))
        for k in rows
    ]


def test_hand_drawn_sequence_has_the_components_and_ids_worked_out_by_hand():
    labels = label_frames(drawn(*(text for text, _ in HAND_DRAWN)))
    for frame, (_, expected) in enumerate(HAND_DRAWN):
        assert listed(labels, frame) == [(COLOURS[letter], box, i) for letter, box, i in expected], frame


def test_arrays_have_the_documented_form():
    labels = label_frames(drawn(*(text for text, _ in HAND_DRAWN)))
    assert labels["boxes"].shape == (5, 5, 4) and labels["boxes"].dtype == np.float32
    assert labels["valid"].shape == (5, 5) and labels["valid"].dtype == bool
    assert labels["colour"].shape == (5, 5, 3) and labels["colour"].dtype == np.uint8
    assert labels["track_id"].shape == (5, 5) and labels["track_id"].dtype == np.int32
    assert (labels["track_id"][~labels["valid"]] == -1).all()
    assert not labels["boxes"][~labels["valid"]].any() and not labels["colour"][~labels["valid"]].any()
    assert (np.diff(labels["valid"].astype(int), axis=1) <= 0).all()


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_nothing_but_black_has_no_labels(frames):
    labels = label_frames(np.zeros((frames, 4, 6, 3), np.uint8))
    assert {key: value.shape for key, value in labels.items()} == {
        "boxes": (frames, 0, 4),
        "valid": (frames, 0),
        "colour": (frames, 0, 3),
        "track_id": (frames, 0),
    }


def test_ignored_colours_are_background():
    frames = drawn("WWWW WRWW WWWW WWWG")
    without_white = listed(label_frames(frames, ignored_colours=[(255, 255, 255)]), 0)
    assert [colour for colour, *_ in without_white] == [COLOURS["G"], COLOURS["R"]]
    assert len(listed(label_frames(frames), 0)) == 3


def test_colours_differ_by_the_last_bit():
    frames = np.zeros((1, 5, 5, 3), np.uint8)
    frames[0, 2, 1:4] = (10, 20, 30), (10, 20, 31), (10, 20, 30)
    labels = label_frames(frames)
    assert [(c, box) for c, box, _ in listed(labels, 0)] == [((10, 20, 30), (1, 3, 0, 4)), ((10, 20, 31), (1, 3, 1, 3))]


def random_frames(rng, frames=6, rows=18, columns=22, density=0.05) -> np.ndarray:
    """Sparse pixels and bars of three colours; some frames repeat, some pixels stay."""
    palette = np.array([(0, 0, 0), (200, 0, 9), (7, 7, 7), (0, 90, 255)], np.uint8)
    indices = rng.choice(4, (frames, rows, columns), p=[1 - 3 * density, density, density, density])
    indices[:, 3:5, 2:9] = 1
    indices[1] = indices[0]
    return palette[indices]


def flood_fill(frame) -> dict:
    """colour -> sorted list of boxes, pixel by pixel."""
    rows, columns = frame.shape[:2]
    colours = {tuple(int(v) for v in pixel) for pixel in frame.reshape(-1, 3)} - {(0, 0, 0)}
    result = {}
    for colour in colours:
        own = {(r, c) for r in range(rows) for c in range(columns) if tuple(frame[r, c]) == colour}
        own |= {(r + 1, c) for r, c in own if r + 1 < rows} | {(r, c + 1) for r, c in own if c + 1 < columns}
        boxes = []
        while own:
            todo, part = [own.pop()], []
            while todo:
                r, c = todo.pop()
                part.append((r, c))
                near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & own
                own -= near
                todo += near
            (top, left), (bottom, right) = np.min(part, 0), np.max(part, 0)
            boxes.append((top - 1, bottom, left - 1, right))
        result[colour] = sorted(boxes)
    return result


@pytest.mark.parametrize("density", [0.01, 0.05, 0.2])
def test_components_equal_a_flood_fill(density):
    rng = np.random.default_rng(int(1000 * density))
    frames = random_frames(rng, density=density)
    labels = label_frames(frames)
    for t, frame in enumerate(frames):
        found = {}
        for colour, box, _ in listed(labels, t):
            found.setdefault(tuple(int(v) for v in colour), []).append(box)
        assert {colour: sorted(boxes) for colour, boxes in found.items()} == flood_fill(frame)


def moving_squares(rng, frames=8, most=6, side=40) -> np.ndarray:
    """Single pixels of two colours that come, wander and go."""
    video = np.zeros((frames, side, side, 3), np.uint8)
    colours = rng.integers(0, 2, most)
    positions = rng.integers(0, side, (most, 2))
    for t in range(frames):
        positions = (positions + rng.integers(-4, 5, positions.shape)) % side
        for k in np.flatnonzero(rng.random(most) < 0.8):
            video[t, *positions[k]] = COLOURS["RG"[colours[k]]]
    return video


def best_pairs(old, new):
    """Pairs of the least total cost among all assignments, None if several have it. Rows: (centre, colour)."""
    if not old or not new:
        return []
    swap = len(old) > len(new)
    few, many = (new, old) if swap else (old, new)
    cost = [[np.hypot(a[0][0] - b[0][0], a[0][1] - b[0][1]) + 10_000 * (a[1] != b[1]) for b in many] for a in few]
    choices = list(itertools.permutations(range(len(many)), len(few)))
    totals = np.array([sum(cost[i][j] for i, j in enumerate(choice)) for choice in choices])
    if (totals < totals.min() + 1e-6).sum() > 1:
        return None
    pairs = [(i, j) for i, j in enumerate(choices[int(totals.argmin())]) if cost[i][j] < 10_000]
    return [(j, i) if swap else (i, j) for i, j in pairs]


def test_ids_follow_the_assignment_of_least_total_cost():
    compared = 0
    for seed in range(12):
        labels = label_frames(moving_squares(np.random.default_rng(seed)))
        tables = [listed(labels, t) for t in range(8)]
        seen = {i for *_, i in tables[0]}
        for old, new in itertools.pairwise(tables):
            places = [[((b[0] + b[1], b[2] + b[3]), c) for c, b, _ in table] for table in (old, new)]
            pairs = best_pairs(*[[((y / 2, x / 2), c) for (y, x), c in table] for table in places])
            if pairs is not None:
                compared += 1
                carried = {j: old[i][2] for i, j in pairs}
                for j, (*_, identity) in enumerate(new):
                    assert identity == carried[j] if j in carried else identity not in seen
            seen |= {i for *_, i in new}
    assert compared > 40


def test_ids_are_unique_in_a_frame_and_count_up_without_holes():
    labels = label_frames(random_frames(np.random.default_rng(3)))
    for ids, valid in zip(labels["track_id"], labels["valid"], strict=True):
        assert len(set(ids[valid])) == valid.sum()
    given = np.unique(labels["track_id"][labels["valid"]])
    np.testing.assert_array_equal(given, np.arange(len(given)))


def test_identical_frames_keep_all_ids():
    frames = random_frames(np.random.default_rng(4))
    labels = label_frames(frames)
    for values in labels.values():
        np.testing.assert_array_equal(values[0], values[1])


def test_clip_of_a_labelled_episode_is_the_labelled_clip_up_to_the_numbers_of_ids():
    frames = moving_squares(np.random.default_rng(5), frames=20)
    whole = label_frames(frames)
    for start, stop in ((0, 8), (5, 13), (12, 20)):
        clip, renamed = label_frames(frames[start:stop]), {}
        for t in range(start, stop):
            for (colour, box, i), (clip_colour, clip_box, k) in zip(
                listed(whole, t), listed(clip, t - start), strict=True
            ):
                assert (colour, box) == (clip_colour, clip_box)
                assert renamed.setdefault(i, k) == k
        assert len(set(renamed.values())) == len(renamed)


def test_nothing_is_carried_from_one_call_to_the_next():
    rng = np.random.default_rng(6)
    first, second = random_frames(rng), random_frames(rng)
    alone = label_frames(second)
    label_frames(first)["boxes"][:] = 77
    for key, value in label_frames(second).items():
        np.testing.assert_array_equal(value, alone[key])


def test_parameters_can_be_written_into_a_manifest():
    import json

    assert json.loads(json.dumps(PARAMETERS)) == PARAMETERS
