import gin
import pytest

from silot_tf import configuration
from silot_tf.errors import UserError


@gin.configurable(module="conftest")
class Machine:
    def __init__(self, speed=1, parts=None, name="x"):
        self.speed, self.parts, self.name = float(speed), parts, name


@gin.configurable(module="conftest")
class Part:
    def __init__(self, size):
        self.size = size


@pytest.fixture(autouse=True)
def clean():
    yield
    gin.clear_config()


def load(folder, text, *bindings):
    path = folder / "test.gin"
    path.write_text(text)
    configuration.load([str(path)], bindings)
    return str(path)


def error_of(folder, text, *bindings):
    with pytest.raises(UserError) as caught:
        load(folder, text, *bindings)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder) + "/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nMachine.sped = 1", "doesn't have a parameter named 'sped'. In file \"test.gin\", line 2"),
        ("\n\nMachin.speed = 1", "No configurable matching 'Machin'. In file \"test.gin\", line 3"),
        ("Machine.parts = [@Prat()]", "No configurable matching reference '@Prat()'. In file \"test.gin\", line 1"),
        ("N = 1\nMachine.speed = %M", '%M has no value, used in file "test.gin", line 2'),
        ("Machine.name = fast", "Failed to parse token 'fast' (test.gin, line 1)"),
        ("Machine.parts = [1,\n", "test.gin: EOF in multi-line statement; a bracket or quote is not closed"),
        ("import silot_tf.modles", "No module named 'silot_tf.modles' In file \"test.gin\", line 1"),
        ("include 'gin_configs/nothing.gin'", 'Unable to open file: gin_configs/nothing.gin'),
    ],
)  # fmt: skip
def test_mistakes_in_files_are_one_line_with_file_and_line(tmp_path, text, message):
    assert message in error_of(tmp_path, text)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("Machine.sped=1", "--gin_param='Machine.sped=1': Configurable"),
        ("Machine.name=fast", "--gin_param='Machine.name=fast': Failed to parse token 'fast'"),
        ("Machine.speed=%M", "%M has no value, used in --gin_param='Machine.speed=%M'"),
    ],
)
def test_mistakes_in_parameters_name_the_parameter(tmp_path, binding, message):
    assert message in error_of(tmp_path, "", binding)


def test_later_sources_win_and_the_configuration_is_locked(tmp_path):
    load(tmp_path, "Machine.speed = 1\nMachine.speed = 2\nMachine.name = 'file'", "Machine.speed = 3")
    machine = configuration.build(Machine)
    assert (machine.speed, machine.name) == (3.0, "file")
    with pytest.raises(RuntimeError):
        gin.bind_parameter("Machine.speed", 4)


def test_loading_again_starts_from_nothing(tmp_path):
    load(tmp_path, "Machine.speed = 7")
    load(tmp_path, "")
    assert configuration.build(Machine).speed == 1.0


def test_files_are_found_as_given_and_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an empty folder, as for a user of the installed package
    for name in ("gin_configs/base/training.gin", "base/training.gin"):
        assert configuration.find(name).endswith("gin_configs/base/training.gin")
    with pytest.raises(UserError, match=r"--gin_file=other/training\.gin does not exist.*base/training\.gin"):
        configuration.find("other/training.gin")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "training.gin").write_text("")
    assert configuration.find("base/training.gin") == "base/training.gin"


def test_included_files_of_the_package_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load(tmp_path, "include 'gin_configs/models/background_only.gin'")
    assert "BackgroundOnly.per_pixel = True" in configuration.bound()


def test_errors_while_building_are_one_line(tmp_path):
    load(tmp_path, "Machine.parts = [@big/Part()]\nbig/Part.size = 1\nMachine.speed = 'much'")
    with pytest.raises(UserError) as caught:
        configuration.build(Machine)
    assert str(caught.value) == "could not convert string to float: 'much' (in Machine)"
    load(tmp_path, "Machine.parts = [@big/Part()]")
    with pytest.raises(UserError, match=r"missing 1 required positional argument: 'size'.*\(in Part, scope 'big'\)"):
        configuration.build(Machine)


LONG = {"a": list(range(40)), "b" * 30: "c = 'd' # e" * 6}


def test_the_bound_configuration_reads_back_to_itself(tmp_path):
    load(tmp_path, f"SIZE = 3\nMachine.parts = {LONG!r}\nsmall/Part.size = %SIZE\nPart.size = @small/Part()")
    text = configuration.bound()
    statements = configuration.statements(text)
    assert set(statements) == {"SIZE", "Machine.parts", "small/Part.size", "Part.size"}
    assert gin.config.parse_value(statements["Machine.parts"]) == LONG
    load(tmp_path, text)
    assert configuration.bound() == text


OLD = "N = 4\n\n# Parameters\nStage.max_updates = 10\nfirst/Stage.learning_rate = 0.1\nTrainer.clip_norm = %N\n"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("max_updates = 10", "max_updates = 20", []),
        ("learning_rate = 0.1", "learning_rate = 0.2", ["first/Stage.learning_rate: 0.1 -> 0.2"]),
        ("N = 4", "N = 5", ["N: 4 -> 5"]),
        ("N = 4", "N = 4\nEXTRA = 7", []),  # a macro that nothing uses
        ("Trainer.clip_norm = %N\n", "", ["Trainer.clip_norm: %N -> not bound"]),
        ("max_updates = 10", "max_updates = %EXTRA\nEXTRA = 3", []),
        ("Trainer.clip", "module.Trainer.clip", ["Trainer.clip_norm: %N -> not bound",
                                                 "module.Trainer.clip_norm: not bound -> %N"]),
    ],
)  # fmt: skip
def test_only_the_short_list_may_differ(old, new, found):
    assert configuration.differences(OLD, OLD.replace(old, new)) == found


TESTS = (
    OLD + "Experiment.further_tests = [@long/reproduce.FurtherTest()]\n"
    "long/FurtherTest.dataset = @long/clips/Clips()\nlong/Clips.frames = 100\nlong/clips/Clips.digits = 3\n"
)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (TESTS, OLD, []),  # tests that come later
        ("frames = 100", "frames = 50", []),  # what is bound in a scope that only tests use
        ("digits = 3", "digits = 4", []),  # and in a scope within it
        ("clip_norm = %N", "clip_norm = @long/Norm()", ["Trainer.clip_norm: %N -> @long/Norm()"]),
    ],
)
def test_tests_of_trained_weights_may_differ(old, new, found):
    assert configuration.differences(TESTS, TESTS.replace(old, new)) == found


def test_a_scope_that_training_uses_too_may_not_differ():
    shared = TESTS.replace("clip_norm = %N", "clip_norm = @long/Norm()")
    found = configuration.differences(shared, shared.replace("frames = 100", "frames = 50"))
    assert found == ["long/Clips.frames: 100 -> 50"]


def test_a_run_folder_with_another_configuration_is_refused(tmp_path):
    configuration.check_same(tmp_path, OLD)
    configuration.write(tmp_path, configuration.CONFIG_FILE, OLD)
    configuration.check_same(tmp_path, OLD.replace("max_updates = 10", "max_updates = 20"))
    with pytest.raises(UserError, match=r"(?s)choose another folder.*\n  first/Stage.learning_rate: 0.1 -> 7"):
        configuration.check_same(tmp_path, OLD.replace("rate = 0.1", "rate = 7"))
