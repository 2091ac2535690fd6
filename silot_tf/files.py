"""Files that are written whole or not at all, and JSON files read with one clear error."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping

from silot_tf.errors import UserError


def write_atomic(path, data: bytes | str) -> pathlib.Path:
    """Write `data` so that a reader, also after a crash, sees the earlier file or the whole new one; return the path.

    Raises:
      UserError: if the folder cannot be written (read-only, full disk); the earlier file is untouched.
    """
    path = pathlib.Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".unfinished")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files private; run folders are meant to be shared
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    return path


def write_together(folder, contents: Mapping[str, bytes | str]) -> None:
    """Write several files, all or none: they are written beside each other first, then get their names in order.

    Args:
      folder: made where it is missing.
      contents: name -> content.

    Raises:
      UserError: if the folder cannot be written; what was there is then untouched.
    """
    folder, temporary = pathlib.Path(folder), None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix=".together.", suffix=".unfinished"))
        for name, data in contents.items():
            write_atomic(temporary / name, data)
        for name in contents:
            os.replace(temporary / name, folder / name)
        _sync_folder(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def read_json_object(path, cure: str) -> dict:
    """The JSON object in a file, {} where there is no such file.

    Args:
      path: of the file.
      cure: what to do about a damaged file, for the error message.

    Raises:
      UserError: if the file cannot be read, or holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is damaged and cannot be read ({error}); expected whole JSON: {cure}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, expected a JSON object: {cure}")
    return content


def cannot_write(path, error: OSError, choose: str = "another folder") -> UserError:
    """The error to raise when the operating system refuses to write `path`; `choose` tells what to try instead."""
    return UserError(
        f"cannot write {path}: {error.strerror or error}; expected a writable folder with free space: "
        f"choose {choose} or free space"
    )


def remove_unfinished(folder) -> None:
    """Delete what a process that was killed left in `folder`: unfinished files, and folders of such."""
    for path in pathlib.Path(folder).glob(".*.unfinished"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync_folder(folder) -> None:
    """Make the rename itself survive a power failure, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def new_folder(path):
    """Context that gives an empty folder beside `path`, which takes that name if everything inside goes well.

    Otherwise it is removed with all that is in it.

    Raises:
      UserError: if there is something at `path`, or the folder cannot be made.
    """
    path = pathlib.Path(path)
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists; expected the name of a new folder: choose another, or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".unfinished"))
    except OSError as error:
        raise cannot_write(path, error, "another name") from error
    try:
        yield temporary
        os.chmod(temporary, 0o755)  # mkdtemp makes folders private
        try:
            os.rename(temporary, path)
        except OSError as error:
            raise cannot_write(path, error, "another name") from error
        _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
