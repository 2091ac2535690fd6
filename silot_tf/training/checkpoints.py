"""Checkpoints: weights, optimizer and the state of the run, exact to the bit, safe against kills and damage.

A checkpoint is two files in `<run_dir>/checkpoints`: `<name>.npz` with one array per variable, written first, and
`<name>.json` with its checksum, the list of arrays and the state of the run. It exists once the second is there.
Names are `update_<global step>` for the latest ones and `best_...` (weights only) for the best of a stage.
"""

import hashlib
import io
import json
import pathlib
import re
import zipfile
from collections.abc import Mapping

import numpy as np
from absl import logging

from silot_tf import files
from silot_tf.errors import UserError

FOLDER = "checkpoints"
FORMAT = 1
_LATEST = "update_"
_REFERENCES = ("best", "overall")  # entries of state["progress"] that name weights to be kept


class DamagedCheckpoint(Exception):
    """A checkpoint is incomplete or its content is not what was written; the message says how."""


def named_variables(model=None, optimizer=None) -> dict:
    """Variables by a name that is the same in every process: position, and path without Keras' running numbers."""
    named = {}
    for kind, owner in (("model", model), ("optimizer", optimizer)):
        for index, variable in enumerate(owner.variables if owner is not None else ()):
            path = re.sub(r"_\d+(?=[/_]|$)", "", variable.path)
            named[f"{kind}/{index:04d}/{path}"] = variable
    return named


class Checkpoints:
    """The checkpoints of one run.

    Args:
      run_dir: the run folder.
      keep: how many of the latest checkpoints stay on disk; two are needed to survive a damaged one.
    """

    def __init__(self, run_dir, keep: int = 2):
        self.folder = pathlib.Path(run_dir) / FOLDER
        self._keep = keep

    def save_latest(self, variables: Mapping, state: Mapping) -> None:
        """Write a checkpoint of `variables` and `state`, then remove what is no longer needed.

        Args:
          variables: see `named_variables`.
          state: JSON dictionary; `state["progress"]` is a `stages.Progress` in JSON form.
        """
        self._write(f"{_LATEST}{state['progress']['global_step']:09d}", variables, state)
        self._remove_superfluous()

    def save_weights(self, name: str, variables: Mapping) -> None:
        """Write weights that the progress of later checkpoints refers to by `name`."""
        self._write(name, variables, {})

    def restore_latest(self, variables: Mapping) -> dict | None:
        """Set `variables` from the newest usable checkpoint; return its state, or None when there is no checkpoint.

        A damaged checkpoint is reported in the log, and the one before it is used.

        Raises:
          UserError: if there are checkpoints and none is usable, or the variables are not those that were saved.
        """
        loaded = self._newest_usable()
        if loaded is None:
            return None
        name, arrays, state = loaded
        assign(variables, arrays, str(self.folder / name))
        logging.info("continuing from checkpoint %s", self.folder / name)
        return state

    def restore_weights(self, name: str, variables: Mapping) -> None:
        """Set `variables` from weights saved under `name`; other arrays of the file are not used.

        Raises:
          UserError: if the file is damaged, missing, or of another model.
        """
        try:
            arrays, _ = self._read(name)
        except DamagedCheckpoint as error:
            raise UserError(
                f"{self.folder / name}.npz is not usable ({error}); restore the file from a copy, or start over in "
                "another --run_dir"
            ) from error
        assign(variables, arrays, str(self.folder / name))

    def latest_state(self) -> dict:
        """State of the newest usable checkpoint. Raises UserError when there is none."""
        loaded = self._newest_usable()
        if loaded is None:
            raise UserError(f"{self.folder} holds no checkpoint; train first (--mode=train)")
        return loaded[2]

    def _newest_usable(self):
        names = self._latest_names()
        for name in reversed(names):
            try:
                return name, *self._read(name)
            except DamagedCheckpoint as error:
                logging.warning("checkpoint %s is not usable (%s); trying the one before it", self.folder / name, error)
        if names:
            raise UserError(
                f"none of the {len(names)} checkpoints in {self.folder} is usable; restore the files from a copy, or "
                "delete this folder to start the run over"
            )
        return None

    def _latest_names(self) -> list[str]:
        """Names of the checkpoints, oldest first; also those of which only one of the two files is left."""
        return sorted({path.stem for path in self.folder.glob(f"{_LATEST}*") if path.suffix in (".npz", ".json")})

    def _write(self, name: str, variables: Mapping, state: Mapping) -> None:
        arrays = {key: np.asarray(variable) for key, variable in variables.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        data = buffer.getvalue()
        manifest = {
            "format": FORMAT,
            "sha256": hashlib.sha256(data).hexdigest(),
            "arrays": {key: [list(array.shape), str(array.dtype)] for key, array in arrays.items()},
            "state": state,
        }
        manifest_path = self.folder / f"{name}.json"
        manifest_path.unlink(missing_ok=True)  # so that it never describes another file than the one beside it
        files.write_atomic(self.folder / f"{name}.npz", data)
        files.write_atomic(manifest_path, json.dumps(manifest, indent=1) + "\n")

    def _read(self, name: str) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and state of a checkpoint. Raises DamagedCheckpoint."""
        try:
            manifest = json.loads((self.folder / f"{name}.json").read_text())
            data = (self.folder / f"{name}.npz").read_bytes()
            if manifest["format"] != FORMAT:
                raise DamagedCheckpoint(f"format {manifest['format']}, this version reads {FORMAT}")
            if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
                raise DamagedCheckpoint(f"{len(data)} bytes with another checksum than was written: cut short?")
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                return {key: archive[key] for key in manifest["arrays"]}, manifest["state"]
        except FileNotFoundError as error:
            raise DamagedCheckpoint(f"{pathlib.Path(error.filename).name} is missing") from error
        except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DamagedCheckpoint(f"unreadable: {error}") from error

    def _remove_superfluous(self) -> None:
        kept = self._latest_names()[-self._keep :]
        for name in kept[:]:
            try:
                progress = json.loads((self.folder / f"{name}.json").read_text())["state"]["progress"]
            except (OSError, ValueError, KeyError):
                continue  # damaged: it cannot be used, so what it refers to is not needed
            kept += [progress[key]["weights"] for key in _REFERENCES if progress[key]]
        for path in self.folder.iterdir():
            if path.suffix in (".npz", ".json") and not path.name.startswith(".") and path.stem not in kept:
                path.unlink(missing_ok=True)
        files.remove_unfinished(self.folder)


def assign(variables: Mapping, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Set every variable from the array of the same name and shape. Raises UserError before any is changed.

    Args:
      variables: see `named_variables`.
      arrays: must hold all of these names; for each kind (`model`, `optimizer`) present, no others.
      source: where the arrays come from, for the message.
    """
    kinds = {key.split("/")[0] for key in variables}
    stored = {key: array.shape for key, array in arrays.items() if key.split("/")[0] in kinds}
    wanted = {key: tuple(variable.shape) for key, variable in variables.items()}
    differences = [
        f"{key} is {stored.get(key, 'missing')}, expected {wanted.get(key, 'none')}"
        for key in sorted(stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key)
    ]
    if differences:
        raise UserError(
            f"{source} belongs to another model: {'; '.join(differences[:3])} ({len(differences)} differences); "
            "use the configuration it was trained with"
        )
    for key, variable in variables.items():
        variable.assign(arrays[key])
