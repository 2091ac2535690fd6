import pytest

from silot_tf.errors import UserError
from silot_tf.reporting.aggregation import Curve, Spread
from silot_tf.reporting.claims import VERDICTS, judge
from silot_tf.reporting.published import CHECK_OPTIONS, TARGETS, Target, is_number, read_targets

CONDITIONS = {"1 thing": 1.0, "2 things": 2.0, "3 things": 3.0}


def curve(label, ap, *, baseline=False, metric="ap", names=()):
    values = {name: {metric: Spread.of([v])} for name, v in zip(CONDITIONS, ap, strict=False)}
    numbers = {name: CONDITIONS[name] for name in values}
    overall = {metric: Spread.of([sum(ap) / len(ap)])}
    return Curve(label, (label, *names), baseline, numbers, values, overall, 1)


def verdict(check, curves, *, condition="1-3", metric="ap", published="in words"):
    target = Target("E1", "a claim", metric, condition, published, "a paper", check=check)
    return judge(target, curves, CONDITIONS)


MODEL = curve("Model", [0.9, 0.8, 0.7])
BASELINE = curve("connected components", [0.9, 0.5, 0.3], baseline=True, names=("connected_components",))


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("falls curve=ConnComp|connected_components to=0.5", "yes"),
        ("falls curve=connected_components to=0.3", "no"),
        ("falls curve=model to=0.5", "no"),
        ("rises curve=model", "no"),
        ("better curve=model other=connected_components margin=0", "yes"),
        ("better curve=model other=connected_components margin=0.1", "no"),
        ("close curve=connected_components other=model margin=0.4", "yes"),
        ("close curve=connected_components other=model margin=0.3", "no"),
        ("better curve=model other=Unheard margin=0.1", "not measured"),
        ("shown curve=model", "shown"),
        ("look", "look"),
    ],
)
def test_checks_decide_by_their_rule(check, expected):
    answer = verdict(check, [MODEL, BASELINE])
    assert answer.verdict == expected
    assert answer.verdict in VERDICTS
    assert answer.reason


def test_low_values_win_where_low_is_good():
    few, many = (curve(n, v, metric="count_error") for n, v in (("few", [0.1, 0.2, 0.3]), ("many", [0.5, 0.6, 0.7])))
    assert verdict("better curve=few other=many margin=0.3", [few, many], metric="count_error").verdict == "yes"
    assert verdict("better curve=many other=few margin=0", [few, many], metric="count_error").verdict == "no"


def test_a_range_needs_both_ends():
    half = curve("Model", [0.9, 0.8])
    answer = verdict("better curve=model other=connected_components margin=0", [half, BASELINE])
    assert answer.verdict == "not measured"
    assert "So far it holds" in answer.reason
    assert "0.9" in answer.ours


def test_a_condition_that_was_not_measured_is_named():
    answer = verdict("shown curve=model", [MODEL], condition="7-12")
    assert answer.verdict == "not measured"
    assert "results here are for 1 to 3" in answer.reason


def test_an_unknown_name_of_a_condition_is_told_with_the_known_names():
    answer = verdict("", [MODEL], condition="Asteroids", published=".67")
    assert answer.verdict == "not measured"
    assert answer.reason == "Not measured at Asteroids: results here are for 1 thing, 2 things and 3 things."


@pytest.mark.parametrize(
    ("published", "condition", "expected"),
    [
        (".80", "2", "yes"),
        (".8", "2", "yes"),
        (".81", "2", "no"),
        (".80", "all", "yes"),
        (".80", "2 things", "yes"),
    ],
)
def test_a_published_number_is_compared(published, condition, expected):
    assert verdict("", [MODEL], condition=condition, published=published).verdict == expected


def test_a_published_number_counts_to_its_own_precision():
    close = curve("Model", [0.8951])
    assert verdict("", [close], condition="1", published=".90").verdict == "yes"
    assert verdict("", [curve("Model", [0.8949])], condition="1", published=".90").verdict == "no"


def test_training_conditions_are_told_apart_by_whole_numbers():
    small, large = curve("digits 1 6", [0.8, 0.7, 0.65]), curve("digits 1 12", [0.8, 0.75, 0.7])
    assert verdict("close curve=1-6 other=1-12 margin=0.1", [small, large]).verdict == "yes"
    assert verdict("close curve=1-6 other=1-1 margin=0.1", [small, large]).verdict == "not measured"


def test_some_models_can_be_left_out_of_a_claim():
    good, bad = curve("Ours", [0.9, 0.8, 0.7]), curve("Theirs", [0.3, 0.2, 0.1])
    for check, expected in (
        ("model", "no"),
        ("model!Theirs", "yes"),
        ("model!Ours", "no"),
        ("Theirs|Ours!Theirs", "yes"),
    ):
        assert (
            verdict(f"better curve={check} other=connected_components margin=0", [good, bad, BASELINE]).verdict
            == expected
        )
    nothing = verdict("better curve=model!Ours other=connected_components margin=0", [good, BASELINE])
    assert (nothing.verdict, nothing.reason) == ("not measured", "No results of the model here.")


def test_a_baseline_answers_for_a_rollout_with_its_ordinary_values():
    model = curve("Model", [0.9, 0.8, 0.7], metric="rollout_ap")
    answer = verdict("better curve=model other=connected_components margin=0", [model, BASELINE], metric="rollout_ap")
    assert answer.verdict == "yes"


def test_shipped_targets_are_complete_and_only_give_numbers_from_tables():
    names = ["atari", "scattered_mnist", "scattered_shapes"]
    assert {f"{name}.csv" for name in names} <= {path.name for path in TARGETS.iterdir()}
    targets = read_targets(names)
    assert {t.experiment for t in targets} == {"E1", "E1b", "E2", "E3", "E4", "E5", "E6"}
    for target in targets:
        assert target.claim and target.metric and target.source
        assert is_number(target.published) == ("table 1" in target.source)
    assert len(read_targets(names, ("E3",))) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiment,claim\nE1,x\n", "columns"),
        ("experiment,claim,metric,condition,published,source,check\nE1,x,ap,1,in words,p,guess\n", "guess"),
        ("experiment,claim,metric,condition,published,source,check\nE1,x,ap,1,in words,p,better\n", "other"),
        ("experiment,claim,metric,condition,published,source,check\nE1,x,ap,1,w,p,falls to=soon\n", "number"),
    ],
)
def test_wrong_targets_files_are_errors_that_name_the_file(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_targets([str(path)])
    assert "mine.csv" in str(error.value)
    assert set(CHECK_OPTIONS) >= {"better", "falls"}
