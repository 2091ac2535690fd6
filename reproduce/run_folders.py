"""Which folders a command works in: one for a run, or one per seed inside a common folder."""

import dataclasses
import pathlib
from collections.abc import Sequence

from silot_tf import configuration
from silot_tf.errors import UserError
from silot_tf.run_stamp import RUN_FILE, RunStamp

ROOT = "runs"


@dataclasses.dataclass(frozen=True)
class RunFolders:
    """Seed -> run folder, and the folder of what belongs to all of them (the report)."""

    runs: dict[int, pathlib.Path]
    common: pathlib.Path

    @property
    def several(self) -> bool:
        """Whether runs lie in folders of their own inside the common one."""
        return list(self.runs.values()) != [self.common]


def stored_configuration(run_dir) -> pathlib.Path | None:
    """Configuration kept in a run folder (or in the common folder of several runs), if there is one."""
    if run_dir is None:
        return None
    path = pathlib.Path(run_dir) / configuration.CONFIG_FILE
    return path if path.is_file() else None


def choose(run_dir, default_name: str, seed: int | None, seeds: Sequence[int]) -> RunFolders:
    """Folders for a command.

    Args:
      run_dir: as given, or None for a folder under `runs/`.
      default_name: `<experiment>/<gin file>`, for the default folder.
      seed: as given, or None.
      seeds: of the configuration; used when no seed is given. A folder that already holds a run keeps its seed.

    Raises:
      UserError: if the folder is a file, or holds a run with another seed than the one given.
    """
    if run_dir is not None:
        folder = pathlib.Path(run_dir)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--run_dir={run_dir} is a file; expected a folder, or a name for a new one")
        record = RunStamp(folder).read()
        if record:
            stored = record.get("seed")
            if seed is not None and seed != stored:
                raise UserError(f"{folder} holds a run with seed {stored}, not {seed}; choose another --run_dir")
            return RunFolders({stored: folder}, folder)
        if seed is not None and not _seed_folder(folder, seed).is_dir():
            return RunFolders({seed: folder}, folder)
    elif seed is not None or len(seeds) == 1:
        only = seeds[0] if seed is None else seed
        folder = pathlib.Path(ROOT) / f"{default_name}_seed{only}"
        return RunFolders({only: folder}, folder)
    else:
        folder = pathlib.Path(ROOT) / default_name
    wanted = tuple(seeds) if seed is None else (seed,)
    if len(wanted) == 1 and not _seed_folder(folder, wanted[0]).is_dir():
        return RunFolders({wanted[0]: folder}, folder)
    return RunFolders({number: _seed_folder(folder, number) for number in wanted}, folder)


def recorded_experiment(folders: RunFolders) -> str | None:
    """Name of the experiment that run.json of any of these runs holds."""
    for run_dir in folders.runs.values():
        if (run_dir / RUN_FILE).is_file() and (name := RunStamp(run_dir).read().get("experiment")):
            return name
    return None


def _seed_folder(folder: pathlib.Path, seed: int) -> pathlib.Path:
    return folder / f"seed{seed}"
