import os
import struct

import numpy as np
import pytest

from silot_tf.data import digits
from silot_tf.data.digits import EmbeddedDigits, MnistDigits
from silot_tf.errors import UserError


@pytest.fixture(autouse=True)
def no_data_folder(request, monkeypatch):
    if "mnist" not in request.keywords:
        monkeypatch.delenv(digits.DATA_DIR_VARIABLE, raising=False)


def any_mnist(folder):
    return MnistDigits(data_dir=str(folder), verify_content=False)


def test_splits_take_80_10_10_percent_of_every_class_in_file_order():
    labels = np.array([0, 1] * 10 + [0] * 10)  # class 0: 20 rows, class 1: 10 rows
    rows = digits.split_rows(labels)
    of_zero, of_one = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    for split, zeros, ones in (
        ("train", of_zero[:16], of_one[:8]),
        ("val", of_zero[16:18], of_one[8:9]),
        ("test", of_zero[18:], of_one[9:]),
    ):
        np.testing.assert_array_equal(rows[split], np.sort(np.concatenate([zeros, ones])))


def test_splits_are_disjoint_and_complete():
    labels = np.random.default_rng(0).integers(0, 7, 333)
    rows = digits.split_rows(labels)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(333))


def test_shrinking_is_gaussian_blur_and_block_mean():
    image = np.random.default_rng(1).integers(0, 256, (6, 8), dtype=np.uint8)
    weights = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 0.5**2))
    weights /= weights.sum()

    def mirrored(k, size):
        k = abs(k)
        return k if k < size else 2 * (size - 1) - k

    blurred = np.zeros((6, 8))
    for y in range(6):
        for x in range(8):
            for i in range(-2, 3):
                for j in range(-2, 3):
                    weight = weights[i + 2] * weights[j + 2]
                    blurred[y, x] += weight * image[mirrored(y + i, 6), mirrored(x + j, 8)] / 255
    expected = np.zeros((3, 4), np.uint8)
    for y in range(3):
        for x in range(4):
            expected[y, x] = int(255 * blurred[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean())
    np.testing.assert_array_equal(digits.shrink_by_half(image[None])[0], expected)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_idx_files_are_found_and_split(tmp_path, write_mnist, zipped, subfolder):
    images, labels = write_mnist(tmp_path / subfolder, zipped=zipped)
    source = any_mnist(tmp_path)
    pool = source.pool("val")
    rows = digits.split_rows(labels)["val"]
    np.testing.assert_array_equal(pool.masks, digits.shrink_by_half(images[rows]))
    np.testing.assert_array_equal(pool.labels, labels[rows])
    assert pool.masks.shape == (len(rows), 14, 14) and pool.masks.dtype == np.uint8


def test_data_folder_comes_from_the_environment(tmp_path, write_mnist, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv(digits.DATA_DIR_VARIABLE, str(tmp_path))
    assert len(MnistDigits(verify_content=False).pool("train").masks) == 32


def test_keras_archive_is_read(tmp_path, write_mnist):
    images, labels = write_mnist(tmp_path / "idx")
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    np.testing.assert_array_equal(
        any_mnist(tmp_path).pool("test").masks, any_mnist(tmp_path / "idx").pool("test").masks
    )


def test_pickled_archive_is_refused(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=np.array([{}], object), y_train=np.zeros(1))
    with pytest.raises(UserError, match=r"mnist\.npz .*archive of Keras"):
        any_mnist(tmp_path).pool("train")


def test_damaged_archive_is_refused(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(UserError, match=r"mnist\.npz .*copy or download"):
        any_mnist(tmp_path).pool("train")


def _cut(content):
    return content[:-100]


def _wrong_magic(content):
    return struct.pack(">I", 2050) + content[4:]


def _wrong_count(content):
    return content[:4] + struct.pack(">I", 41) + content[8:]


@pytest.mark.parametrize(
    "zipped, damage, message",
    [
        (False, _cut, "announces 40 entries"),
        (False, _wrong_magic, "first number is 2050, expected 2051"),
        (False, _wrong_count, "announces 41 entries"),
        (False, lambda content: b"", "first number is None"),
        (True, _cut, "cut short or damaged"),
        (True, lambda content: content[:500] + b"\0\0\0\0" + content[504:], "cut short or damaged"),
        (True, lambda content: b"no gzip at all", "cut short or damaged"),
    ],
)
def test_damaged_idx_file_is_named(tmp_path, write_mnist, zipped, damage, message):
    write_mnist(tmp_path, zipped=zipped)
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' if zipped else ''}"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message) as raised:
        any_mnist(tmp_path).pool("train")
    assert str(path) in str(raised.value) and "again" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_labels_of_other_pictures_are_refused(tmp_path, write_mnist):
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, 3) + bytes(3))
    with pytest.raises(UserError, match="40 pictures but labels"):
        any_mnist(tmp_path).pool("train")


def test_missing_labels_are_named(tmp_path, write_mnist):
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="train-labels-idx1-ubyte"):
        any_mnist(tmp_path).pool("train")


def test_other_pictures_than_mnist_are_refused_unless_asked_for(tmp_path, write_mnist):
    write_mnist(tmp_path)
    with pytest.raises(UserError, match="verify_content = False"):
        MnistDigits(data_dir=str(tmp_path)).pool("train")


def test_description_of_other_pictures_depends_on_their_content(tmp_path, write_mnist):
    write_mnist(tmp_path / "a")
    write_mnist(tmp_path / "b", count=41)
    assert any_mnist(tmp_path / "a").description() != any_mnist(tmp_path / "b").description()


def test_description_of_mnist_needs_no_digits():
    assert MnistDigits(data_dir="/nowhere").description()["digits"] == "mnist"


def test_data_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        MnistDigits(data_dir=str(tmp_path / "nothing")).pool("train")


@pytest.mark.parametrize("has_folder", [True, False])
def test_without_files_and_network_the_cure_is_told(tmp_path, monkeypatch, has_folder):
    import keras

    def fail():
        raise OSError("no network\nat all")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(UserError, match=r"MNIST is missing.*no network at all.*--data_dir.*EmbeddedDigits"):
        MnistDigits(data_dir=str(tmp_path) if has_folder else None).pool("train")


def test_download_is_the_last_resort(tmp_path, write_mnist, monkeypatch):
    import keras

    images, labels = write_mnist(tmp_path / "idx")
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: ((images, labels), (images, labels)))
    assert len(MnistDigits(verify_content=False).pool("train").masks) == 32


def test_embedded_digits_look_like_mnist_at_14_pixels(embedded):
    """Extent and amount of ink against those of MNIST (11.4 x 9.2 pixels, 13 % ink, measured once)."""
    pool = embedded.pool("train")
    assert pool.masks.shape[1:] == (14, 14) and pool.masks.dtype == np.uint8 and len(pool.masks) > 1400
    rows, columns = (pool.masks > 0).any(2).sum(1), (pool.masks > 0).any(1).sum(1)
    assert 10 <= rows.mean() <= 13 and 7 <= columns.mean() <= 11
    assert 0.1 <= (pool.masks / 255).mean() <= 0.2
    assert pool.masks.max() == 255 and (pool.masks.max((1, 2)) > 200).all()
    assert (pool.masks[:, [0, -1]] == 0).all()


def test_embedded_digits_keep_place_and_shape_of_the_originals(embedded):
    """Each enlarged digit, averaged back to 8x8, resembles its own original more than 98 % of the others."""
    from sklearn import datasets

    originals = datasets.load_digits().images[:60].reshape(60, -1)
    masks = digits.enlarge_8x8(datasets.load_digits().images[:60])[:, 1:13] / 255
    rows = np.kron(np.eye(8), np.ones((1, 3)) / 3)  # 12 rows, each cut in two: three halves per small pixel
    columns = np.kron(np.eye(8), np.ones((1, 7)) / 7)  # 14 columns, each cut in four: seven quarters
    fine = np.repeat(np.repeat(masks, 2, 1), 4, 2)
    small = (rows @ fine @ columns.T).reshape(60, -1)
    correlation = np.corrcoef(small, originals)[:60, 60:]
    assert (np.diag(correlation)[:, None] >= correlation).mean() > 0.98


def test_pools_of_embedded_digits_have_all_classes(embedded):
    for split in digits.SPLITS:
        assert set(embedded.pool(split).labels) == set(range(10))


def test_unknown_split_is_an_error():
    with pytest.raises(ValueError, match="split"):
        EmbeddedDigits().pool("validation")


@pytest.mark.mnist
@pytest.mark.skipif(
    not os.environ.get(digits.DATA_DIR_VARIABLE),
    reason=f"{digits.DATA_DIR_VARIABLE} names no folder with real MNIST",
)
def test_real_mnist_gives_60000_digits_of_the_expected_extent():
    source = MnistDigits()
    pools = {split: source.pool(split) for split in digits.SPLITS}
    assert sum(len(pool.masks) for pool in pools.values()) == 60_000
    np.testing.assert_allclose([len(pools[s].masks) for s in digits.SPLITS], [48_000, 6_000, 6_000], atol=10)
    masks = pools["train"].masks
    rows, columns = (masks > 0).any(2).sum(1), (masks > 0).any(1).sum(1)
    assert abs(rows.mean() - 11) < 1 and abs(columns.mean() - 9) < 1  # SILOT specification 5.2


def test_collection_too_small_for_a_split_is_an_error(tmp_path, write_mnist):
    write_mnist(tmp_path, count=1)
    with pytest.raises(UserError, match="no digits are left for the train split"):
        any_mnist(tmp_path).pool("train")
