"""Small videos for tests: squares that move over a still pattern, and the first frames of real ones."""

import os
import pathlib

import av
import cv2
import numpy as np
import pytest

SIZE, SQUARE = (48, 64), (12, 8)  # (rows, columns)
_FIRST = ((4, 2, 1, 2), (34, 54, 0, -3))  # (y, x, speed of y, speed of x)


def boxes(t: int) -> list[tuple[int, int]]:
    """(top, left) of the squares of frame t, which stay inside for 16 frames and never touch."""
    return [(y + vy * t, x + vx * t) for y, x, vy, vx in _FIRST]


def still() -> np.ndarray:
    """What is behind the squares, `[H,W,3]` uint8, in smooth patches that survive compression."""
    coarse = np.random.default_rng(0).integers(70, 150, (SIZE[0] // 8, SIZE[1] // 8, 3)).astype(np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


def frames(count: int = 16) -> list[np.ndarray]:
    """Frames `[H,W,3]` RGB."""
    result = []
    for t in range(count):
        frame = still()
        for (top, left), colour in zip(boxes(t), ((255, 255, 255), (255, 0, 0)), strict=True):
            frame[max(top, 0) : top + SQUARE[0], max(left, 0) : left + SQUARE[1]] = colour
        result.append(frame)
    return result


def ground_truth(count: int = 16) -> str:
    """MOTChallenge rows of the squares."""
    height, width = SQUARE
    rows = [
        f"{t + 1},{k + 1},{left},{top},{width},{height},1,-1,-1,-1"
        for t in range(count)
        for k, (top, left) in enumerate(boxes(t))
    ]
    return "\n".join(rows) + "\n"


def write_file(path, images, codec: str = "FFV1", rate: float = 10.0) -> pathlib.Path:
    """Write frames as a video; FFV1 (for .mkv and .avi) keeps them to the bit."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, images[0].shape[1::-1])
    assert writer.isOpened()
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return pathlib.Path(path)


def write_coded(path, images, codec: str, pixels: str, *, rate: int = 25, rotation: int = 0) -> pathlib.Path:
    """Write frames (RGB, or with opacity) as a video of any codec and pixel format; `rotation`: degrees to the left."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pixels
        if rotation:
            stream.set_display_rotation(rotation)
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24" if image.shape[-1] == 3 else "rgba")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return pathlib.Path(path)


def write_folder(folder, images, name: str = "frame{}.png") -> pathlib.Path:
    """Write frames as numbered images."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        flipped = image[..., ::-1] if image.ndim == 3 and image.shape[-1] == 3 else image
        assert cv2.imwrite(str(folder / name.format(number)), np.ascontiguousarray(flipped))
    return folder


def pedestrians() -> pathlib.Path:
    """Folder of the real CCTV video, or skip the test with the reason."""
    folder = pathlib.Path(os.environ.get("SILOT_TF_DATA_DIR") or "no_data") / "pets09_s2l1"
    if not (folder / "video.mp4").is_file():
        pytest.skip("SILOT_TF_DATA_DIR names no folder with pets09_s2l1/video.mp4")
    return folder
