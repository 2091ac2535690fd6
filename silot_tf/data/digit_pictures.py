"""Handwritten digits at MNIST's own size, cut to their ink: real MNIST, and the digits that come with scikit-learn."""

import abc
import dataclasses

import gin
import numpy as np

from silot_tf.data import digits, moving_patches
from silot_tf.errors import UserError

SIDE = 28  # pixels, the largest digit


@dataclasses.dataclass(frozen=True)
class PicturePool:
    """Digits of one split.

    Attributes:
      pictures: `[n,28,28]` uint8, brightness 0..255, the ink's tight box in the top left corner, 0 elsewhere.
      sizes: `[n,2]` int, rows and columns of that box.
      labels: `[n]` int64 classes.
    """

    pictures: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


class DigitPictures(abc.ABC):
    """Digits in three disjoint pools; subclasses define `description` (see `digits.DigitSource`) and `_load`."""

    def __init__(self):
        self._pools = {}

    @abc.abstractmethod
    def description(self) -> dict:
        """JSON-serialisable identity of the digits."""

    @abc.abstractmethod
    def _load(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Images `[n,28,28]` uint8 and labels `[n]` of a split."""

    def pool(self, split: str) -> PicturePool:
        """Digits of `split`, one of "train", "val", "test"; disjoint between splits.

        Raises:
          UserError: if the digits cannot be read.
        """
        if split not in digits.SPLITS:
            raise ValueError(f"split must be one of {digits.SPLITS}, found {split!r}")
        if split not in self._pools:
            images, labels = self._load(split)
            if not len(images):
                raise UserError(f"no digits are left for the {split} split; use a larger collection")
            self._pools[split] = PicturePool(*cut_to_ink(images), labels.astype(np.int64))
        return self._pools[split]


@gin.configurable(module="data")
class MnistPictures(DigitPictures):
    """MNIST as SQAIR's experiments divide it.

    The first 5,000 training digits are for validation, the other 55,000 for training. Tests are on the 10,000 test
    digits, as in the paper. Where digits are looked for: see `digits.MnistDigits`.

    Args:
      data_dir: folder with the files; None stands for the environment variable SILOT_TF_DATA_DIR, if set.
      verify_content: require the original digits, bit for bit. Turn it off to use another collection of 28x28
        pictures in the same format; a twelfth of its training pictures is then for validation.

    Source: SQAIR specification 5.1, and 9 (choice 15).
    """

    def __init__(self, data_dir: str | None = None, verify_content: bool = True):
        super().__init__()
        self.data_dir = data_dir
        self.verify_content = verify_content

    def description(self) -> dict:
        """Identity of the digits; reads them only if they need not be the original ones."""
        if self.verify_content:
            return {"digits": "mnist", **digits.MNIST_SHA256}
        return {"digits": "mnist"} | {
            part: digits.sha256_of(*digits.read_mnist(self.data_dir, part)[1:]) for part in digits.MNIST_SHA256
        }

    def _load(self, split):
        part = "test" if split == "test" else "train"
        path, images, labels = digits.read_mnist(self.data_dir, part)
        if self.verify_content:
            digits.require_original(path, part, images, labels, "data.MnistPictures")
        first = len(images) // 12
        rows = {"train": slice(first, None), "val": slice(first), "test": slice(None)}[split]
        return images[rows], labels[rows]


@gin.configurable(module="data")
class EmbeddedPictures(DigitPictures):
    """The 1,797 digits that come with scikit-learn, enlarged to the size of MNIST's: need no download. Ours."""

    def __init__(self):
        # Without a constructor of its own, gin would accept any misspelt binding.
        super().__init__()

    def description(self) -> dict:
        """Identity of the digits."""
        return {"digits": "scikit-learn load_digits", "side": SIDE}

    def _load(self, split):
        from sklearn import datasets

        collection = datasets.load_digits()
        rows = digits.split_rows(collection.target)[split]
        return digits.enlarge_8x8(collection.images[rows], SIDE), collection.target[rows]


def cut_to_ink(images) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with the box of nonzero pixels moved to the top left corner, and the sizes of the boxes.

    Brightness is stretched to 0..255; pictures without ink stay empty (size 0).

    Args:
      images: `[n,rows,columns]` uint8.

    Source: SQAIR specification 5.1.
    """
    stretched = np.array(images)
    flat = stretched.reshape(len(stretched), -1)
    low, high = flat.min(1).astype(np.float32), flat.max(1).astype(np.float32)
    dull = (low > 0) | (high < 255)  # few of MNIST's
    factor = (255 / np.maximum(high - low, 1))[dull, None, None]
    stretched[dull] = np.rint((stretched[dull] - low[dull, None, None]) * factor).astype(np.uint8)
    edges = moving_patches.content_extent(stretched).astype(np.int64)
    sizes = edges[:, 1::2] - edges[:, ::2]
    pictures = np.zeros_like(stretched)
    for picture, image, (top, bottom, left, right) in zip(pictures, stretched, edges, strict=True):
        picture[: bottom - top, : right - left] = image[top:bottom, left:right]
    return pictures, sizes
