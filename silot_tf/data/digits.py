"""Small pictures of handwritten digits: real MNIST, and the digits that come with scikit-learn."""

import abc
import dataclasses
import gzip
import hashlib
import os
import pathlib
import socket
import struct
import zipfile
import zlib

import gin
import numpy as np
from absl import logging

from silot_tf.errors import UserError

PATCH_SIZE = 14
SPLITS = ("train", "val", "test")
DATA_DIR_VARIABLE = "SILOT_TF_DATA_DIR"

_IMAGES_MAGIC, _LABELS_MAGIC = 2051, 2049
_KINDS = (("images", "idx3"), ("labels", "idx1"))
#: Names of the files of images and labels, without ".gz", of each part of the collection.
_NAMES = {
    part: tuple((f"{name}-{kind}-{rank}-ubyte", f"{name}-{kind}.{rank}-ubyte") for kind, rank in _KINDS)
    for part, name in (("train", "train"), ("test", "t10k"))
}
# SHA-256 of all images followed by their labels, as bytes in the original order.
MNIST_SHA256 = {
    "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
    "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
}


@dataclasses.dataclass(frozen=True)
class DigitPool:
    """Digits of one split: `masks [n,14,14]` uint8 (255 = ink) and their classes `labels [n]` int64."""

    masks: np.ndarray
    labels: np.ndarray


class DigitSource(abc.ABC):
    """Digits as 14x14 masks in three disjoint pools; subclasses read the pictures.

    Subclasses define `description()`, a dictionary that identifies the digits (it goes into the manifest of
    cached clips, and must not need the digits themselves where avoidable), and `_load()`, which returns all
    masks and labels.
    """

    _pools: dict[str, DigitPool] | None = None

    @abc.abstractmethod
    def description(self) -> dict:
        """JSON-serialisable identity of the digits."""

    def pool(self, split: str) -> DigitPool:
        """Digits of `split`, one of "train", "val", "test"; disjoint between splits.

        Raises:
          UserError: if the digits cannot be read.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, found {split!r}")
        if self._pools is None:
            masks, labels = self._load()
            self._pools = {name: DigitPool(masks[rows], labels[rows]) for name, rows in split_rows(labels).items()}
        if len(self._pools[split].labels) == 0:
            raise UserError(
                f"no digits are left for the {split} split: it gets a tenth of each class, so there must "
                "be at least ten digits of some class; use a larger collection"
            )
        return self._pools[split]

    @abc.abstractmethod
    def _load(self) -> tuple[np.ndarray, np.ndarray]:
        """All masks `[n,14,14]` uint8 and labels `[n]`."""


def split_rows(labels) -> dict[str, np.ndarray]:
    """Row numbers of each split: per class the first 80 %, the next 10 % and the last 10 % in file order.

    Args:
      labels: `[n]` classes.

    Source: SILOT specification 5.2 (choice: no balancing of classes).
    """
    labels = np.asarray(labels)
    parts = {split: [] for split in SPLITS}
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        first, second = len(rows) * 8 // 10, len(rows) * 9 // 10
        for split, part in zip(SPLITS, np.split(rows, [first, second]), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


def shrink_by_half(images) -> np.ndarray:
    """`[n,2h,2w]` uint8 pictures as `[n,h,w]` uint8 masks: Gaussian blur, then the mean of each 2x2 block.

    The blur has a standard deviation of 0.5 pixel and mirrors at the border (without repeating the edge
    pixel). The result is cut to an integer, not rounded, as in the published experiments.

    Source: SILOT specification 5.2.
    """
    from scipy import ndimage

    images = np.asarray(images)
    count, rows, columns = images.shape
    masks = np.empty((count, rows // 2, columns // 2), np.uint8)
    for start in range(0, count, 4096):  # in pieces, to keep the float64 copies small
        piece = images[start : start + 4096].astype(np.float64) / 255.0
        piece = ndimage.gaussian_filter(piece, (0, 0.5, 0.5), mode="mirror")
        piece = piece.reshape(len(piece), rows // 2, 2, columns // 2, 2).mean((2, 4))
        masks[start : start + 4096] = (255.0 * np.minimum(piece, 1.0)).astype(np.uint8)
    return masks


@gin.configurable(module="data")
class MnistDigits(DigitSource):
    """The 60,000 training digits of MNIST at 14x14 pixels.

    They are looked for in the data directory and in its subfolder `mnist`: the two training idx files,
    gzipped or not, or Keras' `mnist.npz`. Where there are none, Keras downloads them (once; about 11 MB).

    Args:
      data_dir: folder with the files; None stands for the environment variable SILOT_TF_DATA_DIR, if set.
      verify_content: require the original digits, bit for bit. Turn it off to use another collection of 28x28
        pictures in the same format (EMNIST, Fashion-MNIST).

    Source: SILOT specification 5.2.
    """

    def __init__(self, data_dir: str | None = None, verify_content: bool = True):
        self.data_dir = data_dir
        self.verify_content = verify_content

    def description(self) -> dict:
        """Identity of the digits; reads them only if they need not be the original ones."""
        if self.verify_content:
            return {"digits": "mnist", "sha256": MNIST_SHA256["train"]}
        return {"digits": "mnist", "sha256": sha256_of(*read_mnist(self.data_dir)[1:])}

    def _load(self):
        path, images, labels = read_mnist(self.data_dir)
        if self.verify_content:
            require_original(path, "train", images, labels, "data.MnistDigits")
        return shrink_by_half(images), labels.astype(np.int64)


def read_mnist(data_dir: str | None, part: str = "train") -> tuple[object, np.ndarray, np.ndarray]:
    """Where the digits come from, images `[n,28,28]` uint8, labels `[n]` uint8.

    Args:
      data_dir: see `MnistDigits`.
      part: "train" for the 60,000 training digits, "test" for the 10,000 others.

    Raises:
      UserError: if they are not found, or cannot be read.
    """
    images_names, labels_names = _NAMES[part]
    folder = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if folder is None:
        reason = f"no data directory is given (--data_dir or {DATA_DIR_VARIABLE})"
    else:
        if not os.path.isdir(folder):
            raise UserError(f"data directory {folder} does not exist; give the folder that holds MNIST")
        for place in (pathlib.Path(folder), pathlib.Path(folder) / "mnist"):
            images, labels = _find(place, images_names), _find(place, labels_names)
            if images or labels:
                return _read_idx_pair(place, images, labels, (labels_names if images else images_names)[0])
            if (place / "mnist.npz").is_file():
                return _read_npz(place / "mnist.npz", part)
        reason = f"no MNIST files ({images_names[0]}) in {folder}"
        logging.warning("%s; trying the Keras download", reason)
    return _download(reason, images_names[0], labels_names[0], part)


def require_original(path, part: str, images, labels, source: str) -> None:
    """Raise UserError unless these are MNIST's digits bit for bit; `source` is the gin name of who asks."""
    if sha256_of(images, labels) != MNIST_SHA256[part]:
        number = {"train": "60,000 training", "test": "10,000 test"}[part]
        raise UserError(
            f"{path}: these are not the {number} digits of MNIST in their original order "
            f"(checksum {sha256_of(images, labels)[:12]}, expected {MNIST_SHA256[part][:12]}); copy the files "
            f"again, or bind {source}.verify_content = False to use other 28x28 pictures"
        )


@gin.configurable(module="data")
class EmbeddedDigits(DigitSource):
    """Real handwritten digits that need no download: the 1,797 that come with scikit-learn, 8x8 pixels each.

    They are enlarged smoothly and darkened at the fringes, so that stroke width and extent are like those of
    MNIST at 14x14 pixels. This source is ours, not the paper's: about 1,430 training digits, not 48,000.
    """

    def __init__(self):
        # Without a constructor of its own, gin would accept any misspelt binding.
        super().__init__()

    def description(self) -> dict:
        """Identity of the digits."""
        return {"digits": "scikit-learn load_digits", "enlargement": 2}

    def _load(self):
        from sklearn import datasets

        digits = datasets.load_digits()
        return enlarge_8x8(digits.images), digits.target.astype(np.int64)


def enlarge_8x8(images, side: int = PATCH_SIZE) -> np.ndarray:
    """8x8 grey pictures with values 0..16 as `[n,side,side]` uint8 masks, the ink inside 12/14 of the rows.

    The small pictures hold digits squeezed to 8 rows by about 5 columns; columns are stretched more than rows, so
    that digits come out about as high and wide as those of MNIST (11 x 9 pixels of 14). Cubic splines enlarge; a
    steeper contrast afterwards gives strokes the crisp edges of MNIST.

    Args:
      images: `[n,8,8]`.
      side: pixels, even.
    """
    from scipy import ndimage

    def centres(size):
        # Pixel centres of the large picture in pixels of the small one, which gets a dark frame so that ink at its
        # border fades out smoothly.
        return (np.arange(size) + 0.5) * 8 / size - 0.5 + 1

    rows, columns = round(side * 12 / 14), side
    top = (side - rows) // 2
    padded = np.pad(np.asarray(images, np.float64) / 16.0, ((0, 0), (1, 1), (1, 1)))
    masks = np.zeros((len(padded), side, side), np.uint8)
    grid = np.meshgrid(centres(rows), centres(columns), indexing="ij")
    for mask, picture in zip(masks, padded, strict=True):
        large = ndimage.map_coordinates(picture, grid, order=3, mode="grid-constant")
        large = np.clip((large - 0.4) / 0.6, 0.0, 1.0)
        mask[top : top + rows] = (255.0 * large).astype(np.uint8)
    return masks


def sha256_of(images, labels) -> str:
    """Checksum of pictures and their labels."""
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes())
    digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def _find(folder: pathlib.Path, names) -> pathlib.Path | None:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _read_idx_pair(folder, images_path, labels_path, missing: str):
    if not (images_path and labels_path):
        found = images_path or labels_path
        raise UserError(f"{folder}: {found.name} is there but {missing}[.gz] is not; put both into the folder")
    images = _read_idx(images_path, _IMAGES_MAGIC, 3)
    labels = _read_idx(labels_path, _LABELS_MAGIC, 1)
    return images_path, *_check_arrays(images_path, images, labels)


def _read_idx(path: pathlib.Path, magic: int, rank: int) -> np.ndarray:
    cure = "copy or download the file again"
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read to its end ({error}); it may be cut short or damaged: {cure}"
        ) from error
    header = 4 + 4 * rank
    found = struct.unpack(">I", content[:4])[0] if len(content) >= 4 else None
    if found != magic or len(content) < header:
        raise UserError(f"{path} is no idx file of this kind: its first number is {found}, expected {magic}; {cure}")
    shape = struct.unpack(f">{rank}I", content[4:header])
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - header != expected:
        raise UserError(
            f"{path} announces {shape[0]} entries ({expected} bytes) but holds {len(content) - header} bytes; {cure}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_npz(path: pathlib.Path, part: str):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} is not the MNIST archive of Keras, with arrays x_{part} and y_{part} ({error}); "
            "copy or download the file again"
        ) from error
    return path, *_check_arrays(path, images, labels)


def _check_arrays(path, images, labels):
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise UserError(f"{path}: expected uint8 pictures [n,28,28], found {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1]:
        raise UserError(f"{path}: {len(images)} pictures but labels of shape {labels.shape}; take both from one source")
    if len(images) == 0:
        raise UserError(f"{path} holds no pictures; copy or download the file again")
    return images, labels.astype(np.uint8)


def _download(reason: str, images_name: str, labels_name: str, part: str):
    """Images and labels from Keras' own download (kept in Keras' cache folder)."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds; a network that drops packets would otherwise hang for minutes
    try:
        import keras

        parts = dict(zip(("train", "test"), keras.datasets.mnist.load_data(), strict=True))
        images, labels = parts[part]
    except Exception as error:  # whatever network, proxy or file system raise; it is told, not swallowed
        summary = " ".join(str(error).split())
        raise UserError(
            f"MNIST is missing: {reason}, and the Keras download failed ({summary}); put "
            f"{images_name}.gz and {labels_name}.gz (or Keras' mnist.npz) into a folder "
            "and pass it as --data_dir, or use the embedded digits, data.EmbeddedDigits, which need no download"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return "Keras download of mnist.npz", *_check_arrays("Keras download of mnist.npz", images, labels)
