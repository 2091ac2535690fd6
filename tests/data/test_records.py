import json
import resource

import numpy as np
import pytest

from silot_tf.data import records
from silot_tf.errors import UserError


def squares(start, stop):
    numbers = np.arange(start, stop)
    return {
        "number": numbers.astype(np.int32),
        "square": np.stack([numbers, numbers**2], -1).astype(np.float32),
    }


def make(root, parameters=None, num_clips=7, generate=squares):
    return records.load_or_generate(root, "squares", parameters or {"seed": 1}, num_clips, generate)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(records, "CLIPS_PER_SHARD", 3)
    monkeypatch.setattr(records, "_verified", set())


def test_clips_are_stored_in_order_with_a_manifest(tmp_path):
    import tensorflow as tf

    cache = make(tmp_path)
    assert cache.num_clips == 7 and len(cache.files) == 3
    assert cache.fields == {"number": ("int32", ()), "square": ("float32", (2,))}
    found = []
    for record in tf.data.TFRecordDataset(list(cache.files)):
        feature = tf.train.Example.FromString(record.numpy()).features.feature["square"]
        content = tf.io.decode_compressed(feature.bytes_list.value[0], "ZLIB").numpy()
        found.append(np.frombuffer(content, np.float32))
    np.testing.assert_array_equal(found, squares(0, 7)["square"])
    manifest = json.loads((cache.folder / "manifest.json").read_text())
    assert manifest["parameters"]["seed"] == 1 and len(manifest["files"][0]["sha256"]) == 64


def test_second_request_generates_nothing(tmp_path):
    first = make(tmp_path)

    def refuse(start, stop):
        raise AssertionError("generated again")

    assert make(tmp_path, generate=refuse) == first


@pytest.mark.parametrize("change", [{"parameters": {"seed": 2}}, {"num_clips": 8}])
def test_other_parameters_get_another_folder(tmp_path, change):
    assert make(tmp_path, **change).folder != make(tmp_path).folder


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_interrupted_generation_leaves_nothing(tmp_path, interruption):
    def interrupt(start, stop):
        if start > 0:
            raise interruption
        return squares(start, stop)

    with pytest.raises(interruption):
        make(tmp_path, generate=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_killed_process_are_not_used_and_cleared_away(tmp_path):
    folder = make(tmp_path).folder
    number_of_no_process = 2**22 + 1  # above the kernel's limit
    killed = folder.with_name(f"{folder.name}.partial-{records.socket.gethostname()}-{number_of_no_process}")
    folder.rename(killed)
    assert make(tmp_path).folder == folder
    assert list(tmp_path.iterdir()) == [folder]


def test_result_of_a_faster_process_is_used(tmp_path):
    finished = make(tmp_path / "other").folder

    def slow(start, stop):
        if start == 6:  # the other process is done while we write our last shard
            finished.rename(tmp_path / "ours" / finished.name)
        return squares(start, stop)

    cache = make(tmp_path / "ours", generate=slow)
    assert cache.num_clips == 7
    assert list((tmp_path / "ours").iterdir()) == [cache.folder]


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage, message",
    [
        (flip_a_byte, "checksum differs"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, its manifest says"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_damaged_shard_is_named_with_the_cure(tmp_path, damage, message):
    cache = make(tmp_path)
    path = cache.folder / "clips-00001-of-00003.tfrecord"
    damage(path)
    records._verified.clear()  # as in a new process
    with pytest.raises(UserError, match=message) as raised:
        make(tmp_path)
    assert str(path) in str(raised.value) and f"delete the folder {cache.folder}" in str(raised.value)


def test_manifest_with_other_parameters_is_an_error_that_shows_them(tmp_path):
    path = make(tmp_path).folder / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 3'))
    with pytest.raises(UserError, match=r"seed: stored 3, expected 1.*delete the folder"):
        make(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', "{"])
def test_broken_manifest_is_an_error(tmp_path, content):
    path = make(tmp_path).folder / "manifest.json"
    path.write_text(content)
    with pytest.raises(UserError, match="not a manifest"):
        make(tmp_path)


def test_folder_without_manifest_is_an_error(tmp_path):
    (make(tmp_path).folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="delete the folder"):
        make(tmp_path)


def test_full_disk_is_a_user_error_and_leaves_nothing(tmp_path):
    """A limit on file sizes stands for the full disk: writing fails half-way in the same place."""

    def large(start, stop):
        return {"noise": np.random.default_rng(0).integers(0, 256, (stop - start, 300_000), dtype=np.uint8)}

    make(tmp_path / "warm")  # TensorFlow's own start must not meet the limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write generated clips to .*cache_dir.*SILOT_TF_CACHE_DIR"):
            make(tmp_path / "full", generate=large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "full").iterdir()) == []


def test_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write generated clips"):
        make(tmp_path / "file" / "cache")


def test_cache_folder_comes_from_argument_then_environment_then_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(records.CACHE_DIR_VARIABLE, raising=False)
    assert records.cache_root(None) == tmp_path / "home" / ".cache" / "silot_tf"
    monkeypatch.setenv(records.CACHE_DIR_VARIABLE, str(tmp_path / "variable"))
    assert records.cache_root(None) == tmp_path / "variable"
    assert records.cache_root(str(tmp_path / "argument")) == tmp_path / "argument"
