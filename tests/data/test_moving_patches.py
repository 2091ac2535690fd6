import numpy as np
import pytest

from silot_tf.data import moving_patches
from silot_tf.data.moving_patches import Scenes
from silot_tf.errors import UserError


def bounce_by_loop(position, velocity, room, num_frames):
    """The wall-by-wall statement of the motion (SILOT specification 5.1), one patch, with its speeds."""
    position, velocity = np.array(position, float), np.array(velocity, float)
    speed, path, speeds = np.linalg.norm(velocity), [], []
    for _ in range(num_frames):
        path.append(position.copy())
        speeds.append(np.linalg.norm(velocity))
        v = velocity.copy()
        while True:
            distance = np.where(v > 0, room - position, position)
            with np.errstate(divide="ignore"):
                ty, tx = distance / np.abs(v)
            if ty > 1 and tx > 1:
                position += v
                break
            if ty < tx:
                position += ty * v
                v = (1 - ty) * np.array([-v[0], v[1]])
            else:
                position += tx * v
                v = (1 - tx) * np.array([v[0], -v[1]])
        velocity = speed * v / np.linalg.norm(v)
    return np.array(path), np.array(speeds)


def test_motion_equals_wall_by_wall_motion():
    rng = np.random.default_rng(0)
    for speed in (2.0, 5.0, 90.0):  # the last crosses the frame more than once per frame time
        position = rng.uniform(0, 1, (50, 2)) * (34, 20)
        velocity = moving_patches.draw_velocities(rng, 50, speed)
        paths = moving_patches.bounce(position, velocity, np.array([34, 20]), 12)
        for k in range(50):
            expected, speeds = bounce_by_loop(position[k], velocity[k], np.array([34.0, 20.0]), 12)
            np.testing.assert_allclose(paths[k], expected, atol=1e-9)
            np.testing.assert_allclose(speeds, speed, rtol=1e-6)


def test_positions_stay_inside_and_speed_is_constant_away_from_walls():
    rng = np.random.default_rng(1)
    room = np.array([34.0, 34.0])
    velocity = moving_patches.draw_velocities(rng, 200, 2.0)
    paths = moving_patches.bounce(rng.uniform(0, 34, (200, 2)), velocity, room, 100)
    assert paths.min() >= 0 and paths.max() <= 34
    free = ((paths[:, :-1] > 2) & (paths[:, :-1] < 32)).all(-1)
    step = np.linalg.norm(np.diff(paths, axis=1), axis=-1)
    np.testing.assert_allclose(step[free], 2.0, rtol=1e-6)
    assert free.sum() > 10_000


def test_patch_heading_straight_at_a_wall_returns_along_the_mirrored_path():
    path = moving_patches.bounce([3.0, 7.0], [-2.0, 0.0], np.array([34, 34]), 6)
    np.testing.assert_allclose(path[:, 0], [3, 1, 1, 3, 5, 7])
    np.testing.assert_allclose(path[:, 1], 7)


def test_patch_as_large_as_the_frame_does_not_move():
    np.testing.assert_array_equal(moving_patches.bounce([0.0, 0.0], [1.0, 1.0], np.array([0, 0]), 4), 0)


def test_directions_are_uniform():
    velocity = moving_patches.draw_velocities(np.random.default_rng(2), 20_000, 3.0)
    np.testing.assert_allclose(np.linalg.norm(velocity, axis=-1), 3.0, rtol=1e-12)
    angles = np.arctan2(velocity[:, 0], velocity[:, 1])
    counts, _ = np.histogram(angles, 8, (-np.pi, np.pi))
    assert np.abs(counts - 2500).max() < 5 * np.sqrt(2500)


def of_14(generator, count):
    return np.full((count, 2), 14)


def shared_area(first, second, first_size, second_size):
    """Square pixels that two rectangles of integer position have in common, counted pixel by pixel."""
    canvas = np.zeros((2, 64, 64), bool)
    for layer, corner, size in ((0, first, first_size), (1, second, second_size)):
        canvas[layer, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = True
    return (canvas[0] & canvas[1]).sum()


def test_each_rectangle_shares_at_most_98_square_pixels_with_all_earlier_ones():
    largest = 0
    for seed in range(12):
        corners, sizes = moving_patches.place_rectangles(np.random.default_rng(seed), 12, (48, 48), of_14, 98)
        assert corners.min() >= 0 and (corners + sizes).max() <= 48
        for k in range(12):
            overlap = sum(shared_area(corners[j], corners[k], sizes[j], sizes[k]) for j in range(k))
            assert overlap <= 98
            largest = max(largest, overlap)
    assert largest > 80  # overlaps do occur


def test_placement_is_distributed_like_one_by_one_rejection():
    rng, samples = np.random.default_rng(3), []
    for _ in range(3000):
        placed = []
        while len(placed) < 2:
            corner = rng.integers(0, 11, 2)
            if sum(shared_area(corner, other, (14, 14), (14, 14)) for other in placed) <= 98:
                placed.append(corner)
        samples.append(placed)
    rng = np.random.default_rng(4)
    ours = [moving_patches.place_rectangles(rng, 2, (24, 24), of_14, 98)[0] for _ in range(3000)]
    samples, ours = np.array(samples), np.array(ours)
    for statistic in (lambda x: x.reshape(-1, 4).mean(0), lambda x: np.abs(x[:, 0] - x[:, 1]).mean(0)):
        np.testing.assert_allclose(statistic(ours), statistic(samples), atol=0.35)


def test_placement_starts_again_when_a_rectangle_finds_no_place():
    """In a 1 x 4 frame the second 1 x 2 rectangle fits only if the first is at an end."""
    firsts = set()
    for seed in range(10):
        corners, _ = moving_patches.place_rectangles(
            np.random.default_rng(seed), 2, (1, 4), lambda generator, count: np.tile([1, 2], (count, 1)), 0
        )
        assert sorted(corners[:, 1]) == [0, 2]
        firsts.add(int(corners[0, 1]))
    assert firsts == {0, 2}


def test_every_candidate_may_have_its_own_size():
    def draw_sizes(generator, count):
        return generator.integers(3, 9, (count, 2))

    corners, sizes = moving_patches.place_rectangles(np.random.default_rng(0), 40, (40, 30), draw_sizes, 20)
    assert len(np.unique(sizes)) > 3
    assert (corners + sizes <= (40, 30)).all()


def test_impossible_placement_is_an_error(monkeypatch):
    monkeypatch.setattr(moving_patches, "MAX_RESTARTS", 2)
    with pytest.raises(UserError, match="30 patches do not fit into a frame of 20x20"):
        moving_patches.place_rectangles(np.random.default_rng(0), 30, (20, 20), of_14, 98)


def test_patch_larger_than_the_frame_is_an_error():
    with pytest.raises(UserError, match="does not fit"):
        moving_patches.place_rectangles(np.random.default_rng(0), 1, (13, 40), of_14, 98)


def random_scenes(rng, clips=4, patches=3, side=5, frame=(11, 9), channels=3):
    size = rng.integers(2, side + 1, (clips, patches, 2))
    alpha = rng.integers(1, 256, (clips, patches, side, side), dtype=np.uint8)
    inside = np.arange(side) < size[..., None]  # [C,N,2,side]
    alpha = alpha * (inside[:, :, 0, :, None] & inside[:, :, 1, None, :])
    extent = np.zeros((clips, patches, 4))
    extent[..., 1::2] = size
    return Scenes(
        count=rng.integers(0, patches + 1, clips),
        position=rng.uniform(0, 1, (clips, patches, 2)) * (np.array(frame) - size),
        velocity=rng.normal(size=(clips, patches, 2)),
        size=size,
        alpha=alpha.astype(np.uint8),
        colour=rng.integers(0, 256, (clips, patches, channels), dtype=np.uint8),
        extent=extent,
        label=rng.integers(0, 9, (clips, patches)),
    )


def test_pictures_and_annotations_equal_a_pixel_by_pixel_rendering():
    rng, frame = np.random.default_rng(5), (11, 9)
    scenes = random_scenes(rng, frame=frame)
    arrays = moving_patches.render_scenes(scenes, frame, 3)
    assert arrays["video"].dtype == np.uint8
    for c in range(4):
        paths = moving_patches.bounce(scenes.position[c], scenes.velocity[c], np.array(frame) - scenes.size[c], 3)
        for t in range(3):
            image = np.zeros((*frame, 3), int)
            for n in range(scenes.count[c]):
                top, left = int(paths[n, t, 0]), int(paths[n, t, 1])
                rows, columns = scenes.size[c, n]
                for y in range(rows):
                    for x in range(columns):
                        a = int(scenes.alpha[c, n, y, x])
                        for channel in range(3):
                            below = image[top + y, left + x, channel]
                            blend = a * int(scenes.colour[c, n, channel]) + (255 - a) * below
                            image[top + y, left + x, channel] = blend // 255
                expected = [max(top - 0.5, 0), top + rows - 0.5, max(left - 0.5, 0), left + columns - 0.5]
                np.testing.assert_allclose(arrays["edges"][c, t, n], expected)
                assert arrays["valid"][c, t, n] and arrays["label"][c, n] == scenes.label[c, n]
            np.testing.assert_array_equal(arrays["video"][c, t], image)
            assert not arrays["valid"][c, t, scenes.count[c] :].any()
            assert (arrays["edges"][c, t, scenes.count[c] :] == 0).all()
        assert (arrays["label"][c, scenes.count[c] :] == -1).all()


def test_extent_of_content():
    masks = np.zeros((3, 6, 7), np.uint8)
    masks[0, 2:4, 1:6] = 9
    masks[1, 5, 0] = 1
    np.testing.assert_array_equal(moving_patches.content_extent(masks), [[2, 4, 1, 6], [5, 6, 0, 1], [0, 0, 0, 0]])


def test_patch_without_content_has_no_valid_annotation():
    scenes = random_scenes(np.random.default_rng(6))
    scenes.count[:], scenes.extent[:] = 3, 0
    assert not moving_patches.render_scenes(scenes, (11, 9), 2)["valid"].any()
