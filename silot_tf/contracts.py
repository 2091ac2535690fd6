"""Dictionaries that pass between data, models, training, evaluation and reporting: keys, shapes, units, checks.

Letters: B videos, T frames, H W C image, K slots, N annotated objects, A appearance size.

Boxes are `(y, x, height, width)`: centre and size in fractions of the frame, with the frame's top-left *corner* at 0
(pixel `k` covers `[k, k + 1]` before division by the frame size). `silot_tf.ops.boxes` converts to other conventions.

batch (what a dataset yields):
    video       [B,T,H,W,C] float32 in [0, 1]
    frame_mask  [B,T] bool, False for padding frames
    boxes       [B,T,N,4] float32, optional annotations
    present     [B,T,N] bool, False for padding rows and objects outside the frame
    track_id    [B,T,N] int32, -1 where not present
    label       [B,T,N] int32, optional: class of each object, also while outside the frame; -1 where there is none
    crop_offset [B,2] int32, optional: (y, x) pixel of the crop's top-left corner inside the uncropped frame

outputs (what a model returns for a clip):
    reconstruction  [B,T,H,W,C] float32 in [0, 1]
    objects         where [B,T,K,4], what [B,T,K,A], depth [B,T,K,1], pres [B,T,K,1] in [0, 1],
                    track_id [B,T,K] int32 (-1 = none), is_new [B,T,K] bool (first frame of the slot's object);
                    optional confidence [B,T,K,1] where pres is a yes or no: how sure the model is of it
                    (`VideoModel.sprites` makes pictures of `what`, for models that can)
    features        [B,T,F] float32, optional: what the model knows of a frame as one vector, for classifiers on top
    Models without boxes give `mask [B,T,K,H,W]` instead of `where`. Models without objects have one slot, always empty.

loss terms: name -> [B,T] float32, nats per frame, unweighted; minimised.
annealed quantities: name -> scalar float32, the values of schedules at the current update.
"""

from collections.abc import Iterable, Mapping

OBJECT_KEYS = ("where", "what", "depth", "pres", "track_id", "is_new")
BATCH_KEYS = ("video", "frame_mask", "boxes", "present", "track_id", "label", "crop_offset")


def check_batch(batch: Mapping, *, annotated: bool = False) -> None:
    """Raise ValueError unless `batch` follows the contract above (shapes and dtypes, not values).

    Args:
      batch: dictionary of tensors or arrays.
      annotated: also require `boxes`, `present` and `track_id`.
    """
    required = ("video", "frame_mask") + (("boxes", "present", "track_id") if annotated else ())
    _require_keys("batch", batch, required, BATCH_KEYS)
    _check_rank("batch['video']", batch["video"], 5, "[B,T,H,W,C]")
    _check_dtype("batch['video']", batch["video"], "float32")
    _check_rank("batch['frame_mask']", batch["frame_mask"], 2, "[B,T]")
    for key, rank, letters in (
        ("boxes", 4, "[B,T,N,4]"),
        ("present", 3, "[B,T,N]"),
        ("track_id", 3, "[B,T,N]"),
        ("label", 3, "[B,T,N]"),
    ):
        if key in batch:
            _check_rank(f"batch['{key}']", batch[key], rank, letters)


def check_outputs(outputs: Mapping) -> None:
    """Raise ValueError unless `outputs` follows the contract above."""
    _require_keys("outputs", outputs, ("reconstruction", "objects"), None)
    objects = outputs["objects"]
    _require_keys("outputs['objects']", objects, ("what", "depth", "pres", "track_id"), None)
    if "where" not in objects and "mask" not in outputs:
        raise ValueError("outputs need objects['where'] (boxes) or 'mask'; found neither")
    _check_rank("outputs['reconstruction']", outputs["reconstruction"], 5, "[B,T,H,W,C]")
    for key, rank in (("where", 4), ("what", 4), ("depth", 4), ("pres", 4), ("track_id", 3), ("is_new", 3)):
        if key in objects:
            _check_rank(f"outputs['objects']['{key}']", objects[key], rank, "[B,T,K,...]")


def check_loss_terms(terms: Mapping, weights: Mapping) -> None:
    """Raise ValueError unless every loss term is `[B,T]` and `weights` names nothing but such terms."""
    if unknown := sorted(set(weights) - set(terms)):
        raise ValueError(f"there are no loss terms {unknown}; the model gives {sorted(terms)}")
    for name, value in terms.items():
        _check_rank(f"loss term '{name}'", value, 2, "[B,T]")


def _require_keys(what: str, dictionary: Mapping, required: Iterable[str], allowed: Iterable[str] | None) -> None:
    missing = [key for key in required if key not in dictionary]
    if missing:
        raise ValueError(f"{what} lacks {missing}; it has {sorted(dictionary)}")
    if allowed is not None and (unknown := sorted(set(dictionary) - set(allowed))):
        raise ValueError(f"{what} has unknown keys {unknown}; allowed are {sorted(allowed)}")


def _check_rank(what: str, value, rank: int, letters: str) -> None:
    if len(value.shape) != rank:
        raise ValueError(f"{what} must be {letters}, found shape {tuple(value.shape)}")


def _check_dtype(what: str, value, dtype: str) -> None:
    found = getattr(value.dtype, "name", str(value.dtype))
    if found != dtype:
        raise ValueError(f"{what} must be {dtype}, found {found}")
