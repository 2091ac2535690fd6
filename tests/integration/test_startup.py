import errno

import tensorflow as tf

from reproduce import startup


def test_full_and_read_only_disks_are_told_from_other_errors():
    full = OSError(errno.ENOSPC, "No space left on device", "runs/a.csv")
    assert startup.environment_error(full).startswith("cannot write runs/a.csv: No space left on device; expected")
    wrapped = tf.errors.UnknownError(None, None, "runs/events.v2; No space left on device\n more")
    assert startup.environment_error(wrapped).startswith(
        "cannot write runs/events.v2: No space left on device; expected"
    )
    inside = "{{function_node __wrapped__SaveV2_device_/job:localhost/task:0}} out/a.index; No space left on device"
    saved = tf.errors.ResourceExhaustedError(None, None, f"{inside} [Op:SaveV2]")
    assert startup.environment_error(saved).startswith("cannot write out/a.index: No space left on device; expected")
    assert startup.environment_error(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert startup.environment_error(ValueError("No space left on device")) is None


def test_unusual_messages_of_the_start_are_shown(capfd, monkeypatch):
    def announce(*arguments):
        import os

        os.write(2, b"I0000 cudart_stub.cc:31] Could not find cuda drivers\nW0000 something is wrong with the GPU\n")

    monkeypatch.setattr(tf.config, "list_physical_devices", announce)
    startup.start_tensorflow_quietly()
    shown = capfd.readouterr().err
    assert "something is wrong" in shown and "cuda drivers" not in shown
