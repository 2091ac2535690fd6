import fractions
import itertools
import re

import av
import cv2
import numpy as np
import pytest

from silot_tf.data import video_files
from silot_tf.errors import UserError
from tests.data import videos


@pytest.fixture
def said(monkeypatch):
    """Warnings in the order they were given."""
    found = []
    monkeypatch.setattr(video_files.logging, "warning", lambda text, *values: found.append(text % values))
    return found


def read(path):
    return list(video_files.open_video(path).frames())


def test_frames_of_a_lossless_file_come_out_as_they_went_in(tmp_path, said):
    images = videos.frames(5)
    video = video_files.open_video(videos.write_file(tmp_path / "film.mkv", images, rate=12.0))
    for _ in range(2):  # as often as needed
        np.testing.assert_allclose(np.stack(list(video.frames())).astype(int), np.stack(images), atol=3)
    assert video.frame_rate == pytest.approx(12.0) and not said


def test_a_folder_is_read_by_the_numbers_in_its_names(tmp_path, said):
    images = videos.frames(12)
    folder = videos.write_folder(tmp_path / "frames", images)  # frame10 after frame9
    (folder / "notes.txt").write_text("no image")
    np.testing.assert_array_equal(read(folder), images)
    assert video_files.open_video(folder).frame_rate is None and not said


def test_only_one_frame_is_read_at_a_time(tmp_path):
    folder = videos.write_folder(tmp_path / "frames", videos.frames(3))
    (folder / "frame2.png").write_bytes(b"no image")
    first = list(itertools.islice(video_files.open_video(folder).frames(), 2))
    assert len(first) == 2
    with pytest.raises(UserError, match=r"frame2\.png cannot be read as an image"):
        read(folder)


@pytest.mark.parametrize(
    ("image", "expected", "word"),
    [
        (np.full((4, 5), 77, np.uint8), 77, "grey"),
        (np.full((4, 5), 77 * 257, np.uint16), 77, "16 bits"),
        (np.full((4, 5, 3), 200 * 257, np.uint16), 200, "16 bits"),
        (np.dstack([np.full((4, 5, 3), 100, np.uint8), np.full((4, 5), 51, np.uint8)]), 20, "transparency"),
    ],
)
def test_other_kinds_of_images_are_converted_and_that_is_said_once(tmp_path, said, image, expected, word):
    folder = videos.write_folder(tmp_path / "frames", [image] * 3)
    video = video_files.open_video(folder)
    for _ in range(2):
        frames = np.stack(list(video.frames()))
        assert frames.dtype == np.uint8 and frames.shape == (3, 4, 5, 3)
        np.testing.assert_array_equal(frames, expected)
    assert sum(word in message for message in said) == 1


def test_a_grey_file_is_read_as_three_channels_and_that_is_said_once(tmp_path, said):
    path = tmp_path / "grey.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 5.0, (32, 24), False)
    for level in (10, 200):
        writer.write(np.full((24, 32), level, np.uint8))
    writer.release()
    video = video_files.open_video(path)
    for _ in range(2):
        frames = np.stack(list(video.frames()))
    assert frames.shape == (2, 24, 32, 3) and abs(int(frames[1, 0, 0, 0]) - 200) < 4
    assert len(said) == 1 and "grey" in said[0]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "level", "word"),
    [
        ("film.mkv", "ffv1", "yuv420p10le", 200, "10 bits"),
        ("film.mkv", "ffv1", "gray16le", 200, "16 bits"),
        ("film.mkv", "ffv1", "gray16le", 200, "is grey"),
        ("film.mov", "qtrle", "argb", 40, "transparency"),  # a fifth of 200
        ("film.avi", "rawvideo", "bgra", 200, None),  # whose fourth byte is a filler
    ],
)
def test_other_kinds_of_files_are_converted_and_that_is_said_once(tmp_path, said, name, codec, pixels, level, word):
    image = np.full((24, 32, 4), 200, np.uint8)
    image[..., 3] = 51
    path = videos.write_coded(tmp_path / name, [image] * 3, codec, pixels)
    video = video_files.open_video(path)
    for _ in range(2):
        frames = np.stack(list(video.frames()))
    assert frames.dtype == np.uint8 and frames.shape == (3, 24, 32, 3)
    np.testing.assert_allclose(frames.astype(int), level, atol=2)
    assert sum(word in message for message in said) == 1 if word else not said


def test_opacity_that_hides_nothing_is_not_worth_a_word(tmp_path, said):
    image = np.full((24, 32, 4), 255, np.uint8)
    read(videos.write_coded(tmp_path / "film.mov", [image] * 2, "qtrle", "argb"))
    read(videos.write_folder(tmp_path / "frames", [image] * 2))
    assert not said


def test_some_grey_images_do_not_make_a_grey_folder(tmp_path, said):
    colour, grey = np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8)
    read(videos.write_folder(tmp_path / "frames", [colour, grey, colour, grey]))
    assert len(said) == 1 and "holds grey images" in said[0] and "is grey" not in said[0]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_file_that_says_how_it_was_held_is_shown_upright(tmp_path, rotation):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24, 0] = 255  # red at the top left
    path = videos.write_coded(tmp_path / "film.mp4", [image] * 3, "mpeg4", "yuv420p", rotation=rotation)
    found = read(path)[0]
    expected = np.rot90(image, rotation // 90)
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).mean() < 8
    _, frame = cv2.VideoCapture(str(path)).read()
    np.testing.assert_allclose(found.astype(int), frame[..., ::-1], atol=2)


def test_channels_are_red_green_blue(tmp_path):
    image = np.zeros((24, 32, 3), np.uint8)
    image[..., 0] = 255
    for path in (videos.write_folder(tmp_path / "f", [image]), videos.write_file(tmp_path / "a.mkv", [image] * 2)):
        assert read(path)[0][0, 0].tolist() == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mkv", "FFV1")])
def test_truncated_file_gives_what_can_be_read_and_says_how_many(tmp_path, said, name, codec):
    rng = np.random.default_rng(0)
    whole = videos.write_file(tmp_path / name, list(rng.integers(0, 255, (30, 48, 64, 3), np.uint8)), codec=codec)
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = read(cut)
    assert 5 < len(frames) < 25
    assert len(said) == 1 and f"only {len(frames)} of them can be read" in said[0] and "30 frames" in said[0]


def test_what_is_damaged_in_between_is_left_out_in_silence(tmp_path, said, capfd):
    path = videos.write_file(tmp_path / "film.avi", videos.frames(16), codec="MJPG")
    parts = path.read_bytes().split(b"\xff\xd8\xff")  # where pictures begin
    assert len(parts) == 17
    for number in (5, 8):
        parts[number] = bytes(len(parts[number]) - 8) + parts[number][-8:]  # but for the head of the next
    path.write_bytes(b"\xff\xd8\xff".join(parts))
    frames = read(path)
    expected = [image for number, image in enumerate(videos.frames(16), start=1) if number not in (5, 8)]
    assert len(frames) == 14 and np.abs(np.stack(frames).astype(int) - np.stack(expected)).mean() < 8
    assert len(said) == 1 and "only 14 of them can be read" in said[0] and "16 frames" in said[0]
    assert capfd.readouterr() == ("", "")


def test_film_that_lacks_its_end_is_one_line(tmp_path):
    whole = videos.write_file(tmp_path / "a.mp4", videos.frames(10), codec="mp4v")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-400])
    with pytest.raises(UserError, match="cannot be read as a video") as caught:
        video_files.open_video(cut)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("film.mp4", b"", "is empty"),
        ("film.mp4", b"some words\n" * 1000, "is not a video"),
        ("film.mp4", bytes(range(256)) * 40, "cannot be read as a video"),
        ("film.png", cv2.imencode(".png", np.zeros((30, 30, 3), np.uint8))[1].tobytes(), "give the folder"),
    ],
)
def test_what_is_not_a_video_is_one_line(tmp_path, capfd, name, content, complaint):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as caught:
        video_files.open_video(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # nor does FFmpeg talk


def test_nothing_there_and_folders_without_images_are_errors(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        video_files.open_video(tmp_path / "film.mp4")
    with pytest.raises(UserError, match="holds no images"):
        video_files.open_video(tmp_path)


def test_a_film_without_frames_is_an_error(tmp_path):
    path = tmp_path / "empty.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (32, 24)).release()
    with pytest.raises(UserError, match=r"no frame|cannot be read|is not a video"):
        read(path)


def test_sizes_that_differ_in_a_folder_are_an_error_that_names_the_frame(tmp_path):
    images = [np.zeros((20, 30, 3), np.uint8)] * 2 + [np.zeros((20, 32, 3), np.uint8)]
    with pytest.raises(UserError, match=re.escape("frame 3 has 20x32 pixels")):
        read(videos.write_folder(tmp_path / "frames", images))


def jpegs(images) -> bytes:
    return b"".join(cv2.imencode(".jpg", image)[1].tobytes() for image in images)


def after_another(path, first, second):
    """Two films as one, in containers that allow it."""
    for part in (first, second):
        data = path.read_bytes() if path.exists() else b""
        path.write_bytes(data + videos.write_coded(path.with_stem("part"), part, "mpeg2video", "yuv420p").read_bytes())
    return path


def in_one_container(path, first, second):
    """Motion JPEG whose frames change their size; the container tells only the first."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = *first[0].shape[:2], "yuvj420p"
        for number, image in enumerate([*first, *second]):
            packet = av.Packet(jpegs([image]))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, fractions.Fraction(1, 10)
            packet.is_keyframe = True
            container.mux(packet)
    return path


@pytest.mark.parametrize("name", ["film.mjpeg", "film.avi", "film.mkv", "film.ts"])
def test_a_file_that_changes_size_midway_is_an_error_that_names_the_frame(tmp_path, name):
    path = tmp_path / name
    first, second = [np.zeros((48, 64, 3), np.uint8)] * 4, [np.zeros((64, 96, 3), np.uint8)] * 3
    if name == "film.mjpeg":
        path.write_bytes(jpegs(first + second))
    else:
        (after_another if name == "film.ts" else in_one_container)(path, first, second)
    frames = video_files.open_video(path).frames()
    found = list(itertools.islice(frames, 3))
    with pytest.raises(UserError, match=r"frame \d has 64x96 pixels.*before it 48x64;.*one size") as caught:
        found.extend(frames)
    assert f"frame {len(found) + 1} has" in str(caught.value) and "\n" not in str(caught.value)
    assert len(found) == 4 or name == "film.ts"  # whose last frame of a part may be held back


def test_fingerprint_tells_videos_apart_but_not_copies(tmp_path):
    first = videos.write_file(tmp_path / "a.mkv", videos.frames(4))
    copy = tmp_path / "b.mkv"
    copy.write_bytes(first.read_bytes())
    other = videos.write_file(tmp_path / "c.mkv", videos.frames(5))
    prints = [video_files.open_video(path).fingerprint() for path in (first, copy, other)]
    assert prints[0] == prints[1] != prints[2]
    folders = [videos.write_folder(tmp_path / n, videos.frames(c)) for n, c in (("x", 3), ("y", 3), ("z", 4))]
    prints = [video_files.open_video(path).fingerprint() for path in folders]
    assert prints[0] == prints[1] != prints[2]


def test_one_library_reads_while_another_writes(tmp_path):
    """Both come with an FFmpeg of their own."""
    images = videos.frames(8)
    source = videos.write_file(tmp_path / "a.mkv", images)
    writer = cv2.VideoWriter(str(tmp_path / "b.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, videos.SIZE[::-1])
    for frame in video_files.open_video(source).frames():
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    again = read(tmp_path / "b.mp4")
    assert len(again) == 8 and np.abs(np.stack(again).astype(int) - np.stack(images)).mean() < 8


def test_pixels_of_a_real_video_are_those_of_opencv():
    path = videos.pedestrians() / "video.mp4"
    capture = cv2.VideoCapture(str(path))
    for frame in itertools.islice(video_files.open_video(path).frames(), 100):
        np.testing.assert_allclose(frame.astype(int), capture.read()[1][..., ::-1], atol=2)


def test_real_video_opens_and_is_read_in_order():
    video = video_files.open_video(videos.pedestrians() / "video.mp4")
    assert video.frame_rate == pytest.approx(7.0) and video.declared_frames == 600
    frames = list(itertools.islice(video.frames(), 60))
    assert len(frames) == 60 and frames[0].shape == (288, 384, 3)
    assert 0 < np.abs(np.diff(np.stack(frames).astype(int), axis=0)).mean() < 10
