import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.export import drawing
from silot_tf.export.frames import View
from silot_tf.export.reading import ExportedModel
from tests.export import fakes

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402
from gymnasium.vector import AutoresetMode, SyncVectorEnv  # noqa: E402

from silot_tf.export.agents import COLUMNS, ObjectObservation, VectorObjectObservation  # noqa: E402

LENGTH = 5


class Scripted(gymnasium.Env):
    """Episodes of `LENGTH` frames whose brightness tells episode and frame; the same after every seeded reset."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, shape=fakes.FRAME_SHAPE, images=True, length=LENGTH, render_mode="rgb_array"):
        image = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.observation_space = image if images else gymnasium.spaces.Discrete(9)
        self.render_mode, self._shape, self._images, self._length = render_mode, shape, images, length
        self._time, self._random = 0, np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._time = 0
        return self._observation(), {}

    def step(self, action):
        self._time += 1
        return self._observation(), 1.0, self._time == self._length - 1, False, {}

    def render(self):
        return np.full(self._shape, 10 * self._time, np.uint8)

    def _observation(self):
        return self.render() if self._images else self._time


@pytest.fixture(scope="module")
def exported(folder):
    return ExportedModel(folder)


@pytest.fixture(scope="module")
def quiet(quiet_folder):
    """In a vector, noise goes by the oldest stream; without it every stream is as it is alone."""
    return ExportedModel(quiet_folder)


def wrapped(exported, *, env=None, **options):
    return ObjectObservation(Scripted() if env is None else env, exported, **options)


def episode(env, seed=None):
    """Observations of a whole episode."""
    observations, over = [env.reset(seed=seed)[0]], False
    while not over:
        observation, _, over, _, _ = env.step(0)
        observations.append(observation)
    return observations


def expected_tables(exported, brightnesses):
    """The objects that the model finds in uniform frames, from a fresh state."""
    state, tables = exported.initial_state(1), []
    for value in brightnesses:
        table, state = exported.step(np.full((1, *fakes.FRAME_SHAPE), value, np.uint8), state)
        tables.append({name: array[0] for name, array in table.items()})
    return tables


def test_observations_are_the_padded_table_of_what_the_model_finds(exported):
    env = wrapped(exported)
    assert env.columns == (*COLUMNS, "appearance_0", "appearance_1")
    for observation, table in zip(episode(env), expected_tables(exported, range(0, 50, 10)), strict=True):
        assert env.observation_space.contains(observation)
        shown = table["ids"] >= 0
        np.testing.assert_array_equal(observation["ids"], table["ids"])
        np.testing.assert_array_equal(observation["objects"][~shown], 0)
        np.testing.assert_array_equal(observation["objects"][shown, 0], table["presence"][shown])
        np.testing.assert_array_equal(observation["objects"][shown, 1:5], table["boxes"][shown])
        np.testing.assert_array_equal(observation["objects"][shown, 5], table["depth"][shown])
        np.testing.assert_array_equal(observation["objects"][shown, 6:], table["appearance"][shown])
    assert (observation["ids"] >= 0).any()


def test_the_wrapper_passes_gymnasiums_own_check(exported):
    check_env(wrapped(exported), skip_render_check=True)


def test_an_episode_starts_over_in_the_model_and_ids_are_not_given_twice(exported):
    env = wrapped(exported)
    first, second = episode(env), episode(env)
    used = {n for observation in first for n in observation["ids"] if n >= 0}
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a["objects"], b["objects"])
        np.testing.assert_array_equal(b["ids"], np.where(a["ids"] < 0, -1, a["ids"] + max(used) + 1))
    again = episode(env, seed=1)  # a seed repeats everything, ids too
    np.testing.assert_array_equal(again[-1]["ids"], first[-1]["ids"])


def test_one_vector_for_libraries_that_want_vectors(exported):
    env, table = wrapped(exported, flat=True, appearance=False, pixels=False), wrapped(exported)
    (flat, info), (full, _) = env.reset(), table.reset()
    assert env.observation_space.contains(flat) and flat.shape == (fakes.SLOTS * len(COLUMNS),)
    rows = flat.reshape(fakes.SLOTS, -1)
    scale = np.tile(np.array(fakes.FRAME_SHAPE[:2], np.float32), 2)
    np.testing.assert_allclose(rows[:, 1:5], full["objects"][:, 1:5] / scale, rtol=1e-6)
    np.testing.assert_array_equal(info["ids"], full["ids"])
    np.testing.assert_array_equal(env.step(0)[4]["ids"].shape, (fakes.SLOTS,))


def test_frames_can_come_from_render(exported):
    seen, rendered = wrapped(exported), wrapped(exported, env=Scripted(images=False))
    for a, b in zip(episode(seen), episode(rendered), strict=True):
        np.testing.assert_array_equal(a["objects"], b["objects"])
    with pytest.raises(UserError, match="render_mode='rgb_array'"):
        wrapped(exported, env=Scripted(images=False, render_mode=None))


def test_frames_are_cropped_and_resized_only_if_asked_and_boxes_lead_back(exported):
    shape = (50, 60, 3)
    with pytest.raises(UserError, match=r"50x60 pixels come in, the export takes 20x30; give crop=") as error:
        wrapped(exported, env=Scripted(shape))
    assert "\n" not in str(error.value)
    plain, cropped = wrapped(exported), wrapped(exported, env=Scripted(shape), crop=(10, 20, 20, 30))
    resized = wrapped(exported, env=Scripted(shape), crop=(10, 0, 40, 60), resize=True)
    a, b, c = (env.reset()[0]["objects"] for env in (plain, cropped, resized))
    shown = a[:, 0] > 0
    np.testing.assert_allclose(b[shown, 1:5], a[shown, 1:5] + [10, 20, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(c[shown, 1:5], a[shown, 1:5] * 2 + [10, 0, 0, 0], rtol=1e-6)
    with pytest.raises(UserError, match="leads out of frames"):
        wrapped(exported, env=Scripted(shape), crop=(40, 0, 20, 30))


def test_a_view_shows_the_part_of_the_frame_that_was_asked_for():
    frames = np.arange(2 * 6 * 8 * 3).reshape(2, 6, 8, 3).astype(np.uint8)
    np.testing.assert_array_equal(View((6, 8, 3), (2, 3, 3), (1, 2, 2, 3), False).of(frames), frames[:, 1:3, 2:5])
    halved = View((6, 8, 3), (3, 4, 3), None, True).of(frames)
    assert halved.shape == (2, 3, 4, 3) and halved.dtype == np.uint8


def test_a_model_of_one_channel_sees_the_mean_of_the_colours():
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3)).astype(np.uint8)
    seen = View((6, 8, 3), (2, 3, 1), (1, 2, 2, 3), False).of(frames)
    np.testing.assert_array_equal(seen[..., 0], np.round(frames[:, 1:3, 2:5].mean(axis=-1)))
    assert seen.dtype == np.uint8 and View((6, 8, 3), (3, 4, 1), None, True).of(frames).shape == (2, 3, 4, 1)
    with pytest.raises(UserError, match="frames have 3 channels, the export takes 4") as error:
        View((6, 8, 3), (2, 3, 4), (1, 2, 2, 3), False)
    assert "\n" not in str(error.value)


def test_an_export_of_one_channel_follows_colour_frames(tmp_path):
    shape = (20, 30, 1)
    env = wrapped(ExportedModel(fakes.export(tmp_path / "grey", fakes.build(shape), shape)), env=Scripted((40, 60, 3)),
                  resize=True)  # fmt: skip
    observation, _ = env.reset()
    assert env.observation_space.contains(observation) and (observation["ids"] >= 0).any()
    assert env.step(0)[0]["objects"].shape == observation["objects"].shape and env.render().shape == (80, 120, 3)


@pytest.mark.parametrize("space", ["grey", "stacked", "floats"])
def test_frames_that_are_no_rgb_images_are_refused(exported, space):
    shape = {"grey": (20, 30), "stacked": (4, 20, 30), "floats": (20, 30, 3)}[space]
    env = Scripted(render_mode=None)
    env.observation_space = gymnasium.spaces.Box(0, 255, shape, np.float32 if space == "floats" else np.uint8)
    with pytest.raises(UserError, match="RGB"):
        wrapped(exported, env=env, frames="observation")


def test_render_draws_the_boxes_of_the_last_frame(exported):
    env = wrapped(exported, render_scale=3)
    with pytest.raises(UserError, match=r"expected reset\(\) first"):
        env.render()
    observation, _ = env.reset()
    picture = env.render()
    assert picture.shape == (60, 90, 3) and picture.dtype == np.uint8
    ids, rows = observation["ids"], observation["objects"]
    for n, (_, y, x, _height, width) in zip(ids, rows[:, :5], strict=True):
        if n >= 0:  # the middle of the left edge
            np.testing.assert_array_equal(picture[round(3 * y), round(3 * (x - width / 2))], drawing.colour_of(n))


def test_drawing_leaves_the_frame_alone_and_survives_any_box():
    frame = np.zeros((20, 30, 3), np.uint8)
    boxes = np.array([[10, 10, 4, 6], [np.nan, 1, 1, 1], [1e9, -1e9, 5, 5], [-5, -5, 2, 2]])
    picture = drawing.draw_boxes(frame, boxes, [0, 1, 2, -1])
    assert picture.any() and not frame.any()
    np.testing.assert_array_equal(picture[8, 7:13], [drawing.colour_of(0)] * 6)
    assert len({drawing.colour_of(n) for n in range(20)}) == 20


def vector(exported, lengths, mode, **options):
    makers = [lambda length=length: Scripted(length=length) for length in lengths]
    return VectorObjectObservation(SyncVectorEnv(makers, autoreset_mode=mode), exported, **options)


def rows_of(observations, i):
    return observations["objects"][i]


def test_vectors_follow_every_environment_from_reset_to_reset(quiet):
    """Next-step autoreset: the frame after the last one is the first of a new episode, whatever the action."""
    env = vector(quiet, [5, 3], AutoresetMode.NEXT_STEP)
    observations, _ = env.reset()
    assert env.observation_space.contains(observations) and env.single_observation_space["ids"].shape == (3,)
    long, short = ([rows_of(observations, i)] for i in range(2))
    for _ in range(6):
        observations, *_ = env.step(np.zeros(2, int))
        long.append(rows_of(observations, 0))
        short.append(rows_of(observations, 1))
    np.testing.assert_array_equal(short[3], short[0])
    np.testing.assert_array_equal(short[6], short[0])
    np.testing.assert_array_equal(long[5], long[0])
    assert np.abs(long[4] - long[0]).max() > 1e-3 and np.abs(short[2] - short[0]).max() > 1e-3
    assert len(env.render()) == 2


def test_vectors_that_start_over_in_the_same_step_keep_the_last_objects_in_infos(quiet):
    env = vector(quiet, [5, 3], AutoresetMode.SAME_STEP)
    reference = vector(quiet, [5, 3], AutoresetMode.NEXT_STEP)
    first, _ = env.reset()
    reference.reset()
    for _ in range(2):
        observations, _, ended, _, infos = env.step(np.zeros(2, int))
        expected, *_ = reference.step(np.zeros(2, int))
    np.testing.assert_array_equal(ended, [False, True])
    np.testing.assert_array_equal(rows_of(observations, 1), rows_of(first, 1))
    np.testing.assert_array_equal(infos["final_obs"][1]["objects"], rows_of(expected, 1))
    np.testing.assert_array_equal(rows_of(observations, 0), rows_of(expected, 0))
    assert infos["final_obs"][0] is None
    observations, *_ = env.step(np.zeros(2, int))  # the other one has gone on by one frame, not by two
    expected, *_ = reference.step(np.zeros(2, int))
    np.testing.assert_array_equal(rows_of(observations, 0), rows_of(expected, 0))


def test_vectors_without_autoreset_start_over_where_the_mask_says(quiet):
    env = vector(quiet, [5, 3], AutoresetMode.DISABLED)
    first, _ = env.reset()
    for _ in range(2):
        last, *_ = env.step(np.zeros(2, int))
    observations, _ = env.reset(options={"reset_mask": np.array([False, True])})
    np.testing.assert_array_equal(rows_of(observations, 0), rows_of(last, 0))
    np.testing.assert_array_equal(rows_of(observations, 1), rows_of(first, 1))
    assert set(observations["ids"][1][observations["ids"][1] >= 0]).isdisjoint(last["ids"][1])


def test_flat_vectors(exported):
    env = vector(exported, [5, 3], AutoresetMode.SAME_STEP, flat=True, appearance=False)
    observations, infos = env.reset()
    assert observations.shape == (2, fakes.SLOTS * len(COLUMNS)) and infos["ids"].shape == (2, fakes.SLOTS)
    for _ in range(2):
        *_, infos = env.step(np.zeros(2, int))
    assert infos["final_obs"][1].shape == (fakes.SLOTS * len(COLUMNS),)
