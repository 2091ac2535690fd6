"""The card beside an exported model: what it is, what it takes and gives, where it comes from, checksums. JSON."""

import hashlib
import json
import pathlib
from collections.abc import Mapping

from silot_tf import files
from silot_tf.errors import UserError
from silot_tf.export import names
from silot_tf.export.preprocessing import Preprocessing

CARD_FILE = "card.json"
FORMAT = 1

_PICTURES = {1: "grey frames", 3: "RGB frames"}  # by channels
_MEANINGS = {
    "batch_size": "number of streams",
    "frame": "{frames}: float32 in [0, 1], or uint8 (signatures with `uint8`), which is divided by 255",
    "reset": "True starts a stream over, as a fresh state would; the frame is then its first",
    "seed": "two numbers that decide all noise, the same for all frames of a stream",
    "frames": "number of frames to predict, at least 1",
    "reconstruction": "{frames} as the model explains them, in [0, 1]",
    "masks": "share of each object in each pixel, 0 to 1",
} | {name: f"{shape} {meaning}" for name, (shape, meaning) in names.TABLE.items()}
_PREPROCESSED_FRAME = "{frames}: uint8 (signatures with `uint8`), or float32 in [0, 1], which is rounded to 255ths"
_RECONSTRUCTED_VIEW = "what the model sees (`preprocessing`) as the model explains it, in [0, 1]"
_STATE = "carried from frame to frame, not meant to be read"


def describe(
    model, signatures: Mapping, frame_shape, *, deterministic: bool, preprocessing: Preprocessing | None = None
) -> dict:
    """The part of the card that follows from the model and its signatures.

    Args:
      model: the live model.
      signatures: as `saved_model.write` returns them.
      frame_shape: (H, W, C) of the frames taken.
      deterministic, preprocessing: as in `saved_model.write`.
    """
    frames = _PICTURES.get(frame_shape[-1], f"frames of {frame_shape[-1]} channels")
    special = {"frame": _PREPROCESSED_FRAME, "reconstruction": _RECONSTRUCTED_VIEW} if preprocessing else {}
    meanings = {name: meaning.replace("{frames}", frames) for name, meaning in (_MEANINGS | special).items()}

    def tensor(name, spec):
        meaning = _STATE if name.startswith(names.STATE_PREFIX) else meanings[name]
        return {"shape": spec.shape.as_list(), "dtype": spec.dtype.name, "meaning": meaning}

    described = {
        signature: {side: {name: tensor(name, spec) for name, spec in specs.items()} for side, specs in sides.items()}
        for signature, sides in signatures.items()
    }
    table = signatures["step"]["outputs"]
    return {
        "format": FORMAT,
        "model": {
            "class": type(model).__name__,
            "weights": int(sum(variable.value.shape.num_elements() for variable in model.variables)),
            "slots": table["presence"].shape[1],
            "appearance_size": table["appearance"].shape[2],
        },
        "frame": {
            "shape": [int(n) for n in frame_shape],
            "layout": f"height, width, channels; {frames}; row 0 is the top",
            "value_range": {"float32": [0.0, 1.0], "uint8": [0, 255]},
        },
        # What the signatures do with frames before the model sees them; null: nothing but the division.
        "preprocessing": preprocessing and {"seen_shape": list(preprocessing.seen_shape), **preprocessing.description},
        "deterministic": deterministic,
        "signatures": described,
        "how_to": (
            "state = initial_state(batch_size); for every frame: results = step(frame, reset, seed, **state), "
            f"state = what of the results begins with {names.STATE_PREFIX}"
        ),
    }


def write(folder, content: Mapping) -> None:
    """Write the card, with size and checksum of every other file of the folder."""
    folder = pathlib.Path(folder)
    text = json.dumps({**content, "files": checksums(folder)}, indent=1, allow_nan=False)
    files.write_atomic(folder / CARD_FILE, text + "\n")


def read(folder) -> dict:
    """The card of an export.

    Raises:
      UserError: if the folder holds no export, one that is damaged, or one of a later version.
    """
    folder = pathlib.Path(folder)
    cure = "export the run again (python -m reproduce.export_model)"
    card = files.read_json_object(folder / CARD_FILE, cure)
    if not card:
        raise UserError(f"{folder} holds no {CARD_FILE}; expected the folder of an exported model: {cure}")
    if card.get("format") != FORMAT:
        raise UserError(f"{folder / CARD_FILE} has format {card.get('format')}, this version reads {FORMAT}: {cure}")
    return card


def check_files(folder, card: Mapping) -> None:
    """Raise UserError unless the files of an export are those that its card was written with."""
    found = checksums(folder)
    for name, entry in card["files"].items():
        if name not in found:
            raise UserError(f"{pathlib.Path(folder) / name} is missing; export the run again")
        if found[name] != entry:
            raise UserError(
                f"{pathlib.Path(folder) / name} is not the file that was exported (its checksum differs: damaged or "
                "changed); export the run again"
            )


def checksums(folder) -> dict[str, dict]:
    """Relative path -> bytes and sha256 of every file but the card."""
    folder, found = pathlib.Path(folder), {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / CARD_FILE and "__pycache__" not in path.parts:
            data = path.read_bytes()
            found[path.relative_to(folder).as_posix()] = {
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
    return found
