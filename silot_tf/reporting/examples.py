"""Example clips on disk: one .npz with frames, reconstructions and boxes, readable without the model.

Arrays that are read (N clips, T frames, H W C image, K slots, M annotated objects):

    video                [N,T,H,W,C] uint8, or float in [0, 1]
    frame_mask           [N,T] bool, optional: False for padding frames, which are left out
    truth_boxes          [N,T,M,4] float, optional: (y, x, height, width), fractions of the frame
    truth_present        [N,T,M] bool, optional
    truth_track_id       [N,T,M] int, optional
    condition            [N] str, optional: name of the test condition of each clip
    rollout_from         int, optional: first frame that the roll-out does not look at
    global_step          int, optional: update at which the clips were made (clips saved during training)
    reconstruction       [N,T,H,W,C] like video
    boxes                [N,T,K,4] float, optional; with it pres [N,T,K], track_id [N,T,K], is_new [N,T,K]
    depth                [N,T,K] float, optional, beside boxes
    sprites              [N,T,K,h,w,4] uint8, optional, beside boxes: colour and opacity of objects by themselves
    rollout_...          optional: the last four entries for the prior roll-out
    baseline_<name>_...  optional: boxes and what comes with them, for each baseline
    what_if_...          optional: roll-outs after an edit, as `silot_tf.evaluation.results` describes them
"""

import dataclasses
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from silot_tf.errors import UserError

FIELDS = ("boxes", "pres", "track_id", "is_new")


@dataclasses.dataclass(frozen=True)
class Objects:
    """Boxes of one clip: `boxes [T,K,4]`, `pres [T,K]`, `track_id [T,K]`, `is_new [T,K]`.

    Where they were recorded, also `depth [T,K]` and `sprites [T,K,h,w,4]` uint8 (colour and opacity).
    """

    boxes: np.ndarray
    pres: np.ndarray
    track_id: np.ndarray
    is_new: np.ndarray
    depth: np.ndarray | None = None
    sprites: np.ndarray | None = None

    def first_frames(self, number: int) -> "Objects":
        """The objects of the first `number` frames."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Objects(**{name: None if value is None else value[:number] for name, value in fields.items()})


@dataclasses.dataclass(frozen=True)
class View:
    """What the model made of a clip in one mode: frames `[T,H,W,3]` uint8, objects or None."""

    reconstruction: np.ndarray
    objects: Objects | None


@dataclasses.dataclass(frozen=True)
class WhatIf:
    """A roll-out after one object was edited: removed, or moved by `shift` (y, x) in fractions of the frame.

    The reconstruction begins with the first frame that the roll-out does not look at, objects with the clip.
    """

    track_id: int
    is_removed: bool
    shift: tuple[float, float]
    view: View


@dataclasses.dataclass(frozen=True)
class Clip:
    """One example clip: frames `[T,H,W,3]` uint8, annotation or None, views by mode ("" and "rollout_"), and more."""

    video: np.ndarray
    truth: Objects | None
    views: dict[str, View]
    condition: str
    rollout_from: int | None
    baselines: dict[str, Objects] = dataclasses.field(default_factory=dict)
    what_ifs: tuple[WhatIf, ...] = ()

    def first_frames(self, number: int) -> "Clip":
        """The clip without its later frames; roll-outs after an edit are dropped."""

        def view(old: View) -> View:
            return View(old.reconstruction[:number], None if old.objects is None else old.objects.first_frames(number))

        return dataclasses.replace(
            self,
            video=self.video[:number],
            truth=None if self.truth is None else self.truth.first_frames(number),
            views={mode: view(old) for mode, old in self.views.items()},
            baselines={name: objects.first_frames(number) for name, objects in self.baselines.items()},
            what_ifs=(),
        )


@dataclasses.dataclass(frozen=True)
class Examples:
    """Clips of one file and the update at which they were made (None when the file does not say)."""

    clips: list[Clip]
    global_step: int | None


def read_examples(path: Path) -> Examples:
    """Clips of a file laid out as above.

    Raises:
      UserError: if the file is damaged, or arrays are missing or disagree in shape.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {_key(name): stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}): expected a whole .npz; delete it, evaluate again") from error
    if "video" not in arrays or arrays["video"].ndim != 5:
        raise UserError(f"{path} has no array video [N,T,H,W,C] but {sorted(arrays)}; delete it and evaluate again")
    try:
        clips = [_clip(arrays, n) for n in range(len(arrays["video"]))]
    except (IndexError, ValueError, KeyError) as error:
        raise UserError(f"{path} has arrays that do not fit together ({error}); delete it, evaluate again") from error
    return Examples(clips, int(arrays["global_step"]) if "global_step" in arrays else _digits(path.stem))


def training_examples(folder: Path) -> list[Path]:
    """Files of example clips saved during training, first to last: at most the first, middle and last one."""
    paths = sorted(folder.glob("*.npz"), key=lambda path: (_digits(path.stem) or 0, path.name))
    return paths if len(paths) <= 3 else [paths[0], paths[len(paths) // 2], paths[-1]]


def spread_over_conditions(clips: list[Clip], count: int) -> list[Clip]:
    """At most `count` clips in file order, one of each condition before a second one of any.

    Of more conditions than `count`, first, last and others evenly between them are taken.
    """
    seen: dict[str, int] = {}
    rounds: list[list[int]] = []  # places of first clips of conditions, of second ones, and so on
    for place, clip in enumerate(clips):
        turn = seen[clip.condition] = seen.get(clip.condition, 0) + 1
        if turn > len(rounds):
            rounds.append([])
        rounds[turn - 1].append(place)
    chosen: list[int] = []
    for places in rounds:
        number = min(len(places), count - len(chosen))
        chosen += [places[i] for i in np.linspace(0, len(places) - 1, number).round().astype(int)]
    return [clips[place] for place in sorted(chosen)]


def _key(name: str) -> str:
    """`posterior/boxes` and `posterior_boxes` stand for `boxes`, `rollout/boxes` for `rollout_boxes`."""
    return name.replace("/", "_").removeprefix("posterior_")


def _digits(text: str) -> int | None:
    found = re.findall(r"\d+", text)
    return int(found[-1]) if found else None


def _clip(arrays: dict[str, np.ndarray], n: int) -> Clip:
    video = arrays["video"]
    mask = arrays["frame_mask"][n].astype(bool) if "frame_mask" in arrays else np.ones(video.shape[1], bool)
    truth = None
    if "truth_boxes" in arrays:
        shape = arrays["truth_boxes"].shape[:3]
        present = arrays.get("truth_present", np.ones(shape, bool))[n]
        ids = arrays.get("truth_track_id", np.full(shape, -1))[n]
        truth = _objects(arrays["truth_boxes"][n], present, ids, np.zeros_like(present, bool), mask)
    views = {}
    for prefix in ("", "rollout_"):
        if prefix + "reconstruction" not in arrays:
            continue
        reconstruction = arrays[prefix + "reconstruction"]
        if reconstruction.shape != video.shape:
            raise ValueError(f"{prefix}reconstruction is {reconstruction.shape}, video {video.shape}")
        objects = None
        if prefix + "boxes" in arrays:
            objects = _predicted(arrays, prefix, n, mask)
        views[prefix] = View(_colour(_bytes(reconstruction[n][mask])), objects)
    rollout_from = int(arrays["rollout_from"]) if "rollout_from" in arrays else None
    baselines = [found[1] for key in arrays if (found := re.fullmatch(r"baseline_(.+)_boxes", key))]
    return Clip(
        video=_colour(_bytes(video[n][mask])),
        truth=truth,
        views=views,
        condition=str(arrays["condition"][n]) if "condition" in arrays else "",
        rollout_from=rollout_from,
        baselines={name: _predicted(arrays, f"baseline_{name}_", n, mask) for name in baselines},
        what_ifs=tuple(_what_ifs(arrays, n, mask, rollout_from)) if "what_if_object" in arrays else (),
    )


def _predicted(arrays: dict[str, np.ndarray], prefix: str, n: int, mask: np.ndarray) -> Objects:
    """Boxes of clip n and what comes with them."""
    boxes, pres, ids, is_new = (arrays[prefix + field][n] for field in FIELDS)
    depth, sprites = (arrays[prefix + f][n] if prefix + f in arrays else None for f in ("depth", "sprites"))
    return _objects(boxes, pres[..., 0] if pres.ndim == 3 else pres, ids, is_new, mask, depth, sprites)


def _what_ifs(arrays: dict[str, np.ndarray], n: int, mask: np.ndarray, first: int) -> Iterator[WhatIf]:
    """Edited roll-outs of clip n; before the first frame that they do not look at, objects are of the plain one."""
    frames = arrays["what_if_reconstruction"]
    for j, track_id in enumerate(arrays["what_if_object"][n]):
        for v in range(frames.shape[2] if track_id >= 0 else 0):
            whole = {
                field: np.concatenate([arrays["rollout_" + field][n][:first], arrays["what_if_" + field][n, j, v]])
                for field in (*FIELDS, "depth")
            }
            yield WhatIf(
                track_id=int(track_id),
                is_removed=bool(arrays["what_if_removed"][n, j, v]),
                shift=tuple(float(value) for value in arrays["what_if_shift"][n, j, v]),
                view=View(
                    _colour(_bytes(frames[n, j, v][mask[first:]])),
                    _objects(*(whole[field] for field in FIELDS), mask, whole["depth"]),
                ),
            )


def _objects(boxes, pres, track_id, is_new, mask: np.ndarray, depth=None, sprites=None) -> Objects:
    """Objects of the frames in `mask`; ValueError where shapes disagree."""
    if boxes.shape[-1] != 4 or not boxes.shape[:2] == pres.shape == track_id.shape == is_new.shape:
        raise ValueError(f"boxes {boxes.shape}, pres {pres.shape}, track_id {track_id.shape}, is_new {is_new.shape}")
    if sprites is not None and (sprites.ndim != 5 or sprites.shape[-1] != 4 or sprites.shape[:2] != pres.shape):
        raise ValueError(f"sprites {sprites.shape}, pres {pres.shape}")
    if len(boxes) != len(mask):
        raise ValueError(f"boxes for {len(boxes)} frames, video of {len(mask)}")
    boxes, pres = boxes[mask].astype(np.float64), pres[mask].astype(np.float64)
    depth = None if depth is None else depth[mask].astype(np.float64)
    sprites = None if sprites is None else sprites[mask]
    return Objects(boxes, pres, track_id[mask], is_new[mask].astype(bool), depth, sprites)


def _bytes(images) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.rint(np.clip(np.nan_to_num(images), 0, 1) * 255).astype(np.uint8)


def _colour(images: np.ndarray) -> np.ndarray:
    """Grey images repeated to three channels; channels beyond three are not shown."""
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
