"""What is said about the population of rows that fit has not seen."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from certified_cases import individuals, quick

from fairautoml import FairAutoML, FairAutoMLRegressor, load_run
from fairautoml.certification.certificate import certificate_text
from fairautoml.certification.certify import BroughtRows, CandidateSequence
from fairautoml.certification.evidence import Evidence, claim_from_counts
from fairautoml.certification.ledger import level_of, model_hash
from fairautoml.certification.rows import held_out
from fairautoml.certification.verdicts import Reason, Verdict, judge
from fairautoml.certification.verify import verify_certificate
from fairautoml.data.datasets import load
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError
from fairautoml.metrics import Constraint, GroupCounts


@pytest.fixture(scope="module")
def fitted():
    return quick().fit(*individuals())


@pytest.fixture
def model(fitted):
    return pickle.loads(pickle.dumps(fitted))


@pytest.fixture(scope="module")
def other():
    return quick(mitigators=["none"], ensemble=0, random_state=5).fit(*individuals(1000, 7))


NEW = individuals(1500, 2)


def joined(*parts):
    X, y, group = zip(*parts, strict=True)
    return pd.concat(X, ignore_index=True), np.concatenate(y), np.concatenate(group)


def test_by_default_nothing_is_certified_and_no_ledger_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(tmp_path / "state"))
    model = quick().fit(*individuals())
    assert model.certificate_ is None
    assert model.summary_["certificate"] is None
    assert "verdict" not in model.leaderboard_
    assert int(model.best_entry_.counts.sum()) == 1200
    assert not (tmp_path / "state").exists()


def test_the_selected_model_is_what_is_certified(model):
    certificate = model.certify(*NEW)
    assert certificate is model.certificate_
    assert certificate.verdict == Verdict.CERTIFIED
    assert certificate.model == model_hash(model.model_)
    assert certificate.subject.claims == ("demographic_parity_difference[sensitive] <= 0.25",)
    assert certificate.opening.level == level_of(1, 0.05)
    assert verify_certificate(certificate.to_bytes()).ok
    assert model.leaderboard_["verdict"].tolist()[:2] == ["CERTIFIED", None]
    assert model.summary_["certificate"]["verdict"] == "CERTIFIED"


def test_the_counts_are_those_of_the_decisions(model):
    X, y, group = NEW
    (claim,) = model.certify(X, y, group).claims
    decided = model.predict(X, group)
    for name, cell in zip(claim.groups, claim.cells[0], strict=True):
        here = group == name
        assert (cell["n"], cell["x"]) == (here.sum(), (decided[here] == 1).sum())


def test_a_certificate_names_the_class_that_is_given_to_the_accepted(model):
    certificate = model.certify(*NEW)
    assert certificate.subject.positive == repr(int(model.positive_class_))
    assert "positive    1: accepted means predicted so\n" in certificate_text(certificate)
    unnamed = replace(certificate, subject=replace(certificate.subject, positive=""))
    assert "positive" not in certificate_text(unnamed)


def test_a_cell_that_runs_twice_returns_the_same_bytes(model, fitted):
    first = model.certify(*NEW)
    assert model.certify(*NEW).to_bytes() == first.to_bytes()
    X, y, group = NEW
    order = np.random.default_rng(0).permutation(len(y))
    assert model.certify(X.iloc[order], y[order], group[order]) == first
    assert pickle.loads(pickle.dumps(fitted)).certify(*NEW) == first


def test_the_same_fit_again_has_the_same_certificate(model):
    first = model.certify(*NEW)
    assert quick().fit(*individuals()).certify(*NEW).to_bytes() == first.to_bytes()


def test_a_second_model_is_tested_at_a_stricter_level_and_it_is_said(model, other):
    model.certify(*NEW)
    second = other.certify(*NEW)
    assert (second.opening.index, second.opening.level) == (2, level_of(2, 0.05))
    assert "1 earlier opening of these rows" in certificate_text(second)
    assert model.certify(*NEW).opening.index == 1


@pytest.mark.parametrize("own", [True, False], ids=["same model", "another model"])
def test_only_new_rows_are_tested_and_opened_ones_are_counted(model, other, own):
    model.certify(*NEW)
    later = (model if own else other).certify(*joined(NEW, individuals(700, 11)))
    assert (later.opening.index, later.opening.level) == (1, level_of(1, 0.05))
    assert (later.opening.n_rows, later.opening.n_dropped) == (700, 1500)
    assert sum(cell["n"] for cell in later.claims[0].cells[0]) == 700
    assert "700; 1,500 more were opened before" in certificate_text(later)


def test_part_of_the_opened_rows_is_no_fresh_sample(model):
    model.certify(*NEW)
    X, y, group = NEW
    part = model.certify(X[:900], y[:900], group[:900])
    assert part.opening.index == 2


def test_training_rows_are_refused_and_nothing_is_opened(model, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    X, y, group = individuals()
    for rows in ((X, y, group), (X[:50], y[:50], group[:50])):
        with pytest.raises(InputError, match=r"equal training rows of this model.*--holdout"):
            model.certify(*rows, ledger=ledger)
    with pytest.raises(InputError, match="equal training rows"):
        model.certify(*joined(NEW, (X[:100], y[:100], group[:100])), ledger=ledger)
    assert not ledger.exists()
    assert model.certificate_ is None


def test_the_keys_of_the_training_rows_stay_in_the_estimator(model):
    keys = model._training_rows.keys.tobytes()
    assert keys in pickle.dumps(model)
    assert keys not in pickle.dumps(model.model_)


def test_the_rows_are_not_read_before_the_ledger_is_written(model, monkeypatch, tmp_path):
    path = tmp_path / "ledger.jsonl"

    def interrupted(*_):
        assert path.read_bytes().count(b'"kind":"opening"') == 1
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BroughtRows, "evidence", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            model.certify(*NEW, ledger=path)
    assert model.certificate_ is None
    assert model.certify(*NEW, ledger=path).opening.index == 1


def test_candidates_of_the_front_are_tested_in_order_up_to_the_first_failure(model):
    certificate = model.certify(*NEW, candidates="front")
    sequence = model._sequence.entries
    assert certificate.subject.models[certificate.position] == model_hash(model.model_)
    assert len(certificate.subject.models) == len(sequence) > 1
    shown = dict(
        zip(map(id, model.pool_.board.ordered), model.leaderboard_["verdict"], strict=True)
    )
    verdicts = [shown[id(entry)] for entry in sequence]
    assert verdicts[0] == verdicts[certificate.position] == "CERTIFIED"
    for one in (certificate, model.select(max_gap=sequence[0].gap).certificate_):
        assert one.opening == certificate.opening
        assert verify_certificate(one.to_bytes()).ok


def test_select_carries_a_certificate_of_the_sequence_and_no_other(model):
    model.certify(*NEW)
    fairest = model.select(max_gap=model._sequence.entries[0].gap)
    assert fairest.certificate_ is None
    assert fairest.summary_["certificate"] is None
    model.certify(*NEW, candidates="front")
    fairest = model.select(max_gap=model._sequence.entries[0].gap)
    assert fairest.certificate_.model == model_hash(fairest.model_)
    assert fairest.leaderboard_["verdict"].iloc[0] == fairest.certificate_.verdict == "CERTIFIED"
    assert fairest.summary_["certificate"]["verdict"] == "CERTIFIED"
    again = fairest.select(max_gap=model.best_entry_.gap)
    assert again.certificate_.model == model_hash(again.model_)


def test_a_selected_entry_that_is_no_candidate_is_refused(model):
    model._sequence = CandidateSequence.of([model.best_entry_])
    fairest = model.select(max_gap=model.pareto_front_["gap"].min())
    assert fairest.best_entry_ is not model.best_entry_
    with pytest.raises(InputError, match="not one of the candidates that fit fixed"):
        fairest.certify(*NEW, candidates="front")
    assert fairest.certify(*NEW).opening.index == 1


def test_a_floor_of_accuracy_is_certified_in_the_same_test(model):
    high = model.certify(*individuals(1500, 3), min_score=0.99)
    assert (high.verdict, high.floor.verdict) == (Verdict.VIOLATED, Verdict.VIOLATED)
    summary = model.summary_["certificate"]
    assert summary["floor"] == {"claim": "accuracy >= 0.99", "verdict": "VIOLATED", "reason": ""}
    found = model.certify(*NEW, min_score=0.6)
    assert found.floor.verdict == Verdict.CERTIFIED
    assert found.subject.claims[-1] == "accuracy >= 0.6"
    plain = quick(None).fit(*individuals())
    alone = plain.certify(*individuals(1500, 4), min_score=0.5)
    assert (alone.verdict, alone.claims) == (Verdict.CERTIFIED, ())


def test_a_broken_constraint_is_shown():
    model = quick("demographic_parity_difference <= 0.05", confidence=None, mitigators=["none"])
    with pytest.warns(UserWarning, match="no model meets"):
        model.fit(*individuals(2000, 1, shift=0.7))
    found = model.certify(*individuals(2000, 2, shift=0.7))
    assert found.verdict == Verdict.VIOLATED
    assert verify_certificate(found.to_bytes()).ok


def test_later_rows_validate_and_never_certify(model):
    found = model.certify(*NEW, later=True)
    assert found.verdict == Verdict.VALIDATED
    assert "Validated on later data, which is no certificate" in certificate_text(found)
    assert "CERTIFIED" not in found.to_bytes().decode()
    assert verify_certificate(found.to_bytes()).ok


def test_entities_with_several_rows_are_certified_by_entity(model):
    X, y, group = joined(individuals(800, 3), individuals(800, 4))
    person = np.arange(1600) // 2
    group = np.repeat(group[::2], 2)
    found = model.certify(X, y, group, groups=person)
    (claim,) = found.claims
    assert claim.method == "hoeffding"
    assert sum(cell["n"] for cell in claim.cells[0]) == 800
    assert found.subject.entities == "groups"
    assert "entities of groups" in certificate_text(found)
    each = model.certify(X, y, group, groups=np.arange(1600))
    assert each.claims[0].method.startswith("exact")


def test_copies_of_rows_are_reported_unless_they_are_known_as_such(model):
    X, y, group = joined(NEW, NEW)
    with pytest.warns(DegradedWarning, match=r"equal another one.*certify\(\.\.\., groups=\)"):
        model.certify(X, y, group)
    model.certify(X, y, group, groups=np.tile(np.arange(1500), 2))


def test_groups_new_to_the_model_are_not_dropped(model):
    X, y, group = NEW
    strange = group.copy()
    strange[:7] = "c"
    found = model.certify(X, y, strange)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.GROUP_ABSENT)
    assert "The group of 7 rows in 'sensitive' is missing or new to the model" in certificate_text(
        found
    )


def test_without_a_claim_that_can_be_tested_no_row_is_opened(tmp_path):
    X, y, group = individuals(600)
    fresh = individuals(600, 2)
    three = np.arange(600) % 3
    weight = np.arange(600) + 1.0
    ledger = tmp_path / "ledger.jsonl"
    found = {
        "no_claim": quick(None).fit(X, y, group).certify(*fresh, ledger=ledger),
        "no_exact_test": quick().fit(X, three, group).certify(
            fresh[0], three, fresh[2], ledger=ledger
        ),
        "no_weight_limit": quick().fit(X, y, group).certify(*fresh, weight, ledger=ledger),
    }  # fmt: skip
    with pytest.warns(UserWarning, match="single group"):
        single = quick().fit(X, y, np.full(600, "a"))
    found["single_group"] = single.certify(fresh[0], fresh[1], np.full(600, "a"), ledger=ledger)
    for reason, certificate in found.items():
        assert certificate.reason == reason
        assert certificate.verdict in (Verdict.NOT_APPLICABLE, Verdict.INCONCLUSIVE)
        assert certificate.opening.index == 0
        assert verify_certificate(certificate.to_bytes()).ok
    assert not ledger.exists()


def test_numbers_have_no_exact_test():
    X, _, group = individuals(400)
    model = FairAutoMLRegressor(
        "mean_difference <= 1.0", n_trials=2, random_state=0, learners=["logistic_regression"]
    )
    model.fit(X, X["x"] * 2, group)
    fresh, _, who = individuals(400, 2)
    found = model.certify(fresh, fresh["x"] * 2, who)
    assert (found.verdict, found.reason) == (Verdict.NOT_APPLICABLE, Reason.NO_EXACT_TEST)


def test_precision_of_entities_with_several_rows_has_no_bound():
    model = quick("predictive_parity_difference <= 0.3").fit(*individuals())
    X, y, group = NEW
    found = model.certify(X, y, group, groups=np.arange(1500) // 2)
    assert found.reason == Reason.NO_EXACT_TEST
    assert model.certify(X, y, group).reason != Reason.NO_EXACT_TEST


def test_a_constant_predictor_opens_no_rows():
    with pytest.warns(UserWarning, match="constant"):
        model = quick("demographic_parity_difference <= 0.25", n_trials=1).fit(*individuals())
    found = model.certify(*NEW)
    assert (found.reason, found.opening.index) == (Reason.CONSTANT_MODEL, 0)


def test_refitted_models_are_certified_too():
    model = quick(refit=True).fit(*individuals())
    found = model.certify(*NEW)
    assert found.verdict == Verdict.CERTIFIED
    assert found.model == model_hash(model.model_)


@pytest.mark.parametrize(
    "learner", ["lightgbm", "xgboost", "hist_gradient_boosting", "random_forest", "extra_trees"]
)
def test_a_stored_model_has_the_hash_of_its_certificate_and_knows_its_training_rows(
    learner, tmp_path
):
    X, y, group = individuals(300)
    model = quick(learners=[learner], run_dir=tmp_path / "run").fit(X, y, group)
    first = model.certify(*NEW)
    loaded = load_run(tmp_path / "run")
    assert loaded.certify(*NEW).to_bytes() == first.to_bytes()
    with pytest.raises(InputError, match="equal training rows"):
        loaded.certify(X, y, group)


def test_another_delta_than_at_the_first_opening_is_refused(model, other):
    model.certify(*NEW)
    for one in (model, other):
        with pytest.raises(InputError, match=r"these rows with delta=0\.05.*Pass delta=0\.05"):
            one.certify(*NEW, delta=0.01)


def test_a_ledger_of_its_own_knows_nothing_of_the_others(model, other, tmp_path):
    model.certify(*NEW)
    assert other.certify(*NEW, ledger=tmp_path / "new" / "l.jsonl").opening.index == 1


def test_a_folder_that_cannot_be_written_to_leaves_a_ledger_of_the_process(
    model, other, tmp_path, monkeypatch
):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(blocked))
    with pytest.warns(DegradedWarning, match="only this process remembers"):
        first = model.certify(*NEW)
    with pytest.warns(DegradedWarning, match="only this process remembers"):
        second = other.certify(*NEW)
    assert [one.opening.index for one in (first, second)] == [1, 2]
    assert "No ledger could be kept" in certificate_text(first)
    for one in (first, second):
        assert verify_certificate(one.to_bytes()).ok
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(tmp_path / "state"))
    assert "No ledger" not in certificate_text(model.certify(*NEW))


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"min_score": 1.5}, r"min_score=1\.5 must be None or an accuracy"),
        ({"delta": 0.95}, r"delta=0\.95 must be an error probability.*95 % is delta=0\.05"),
        ({"later": "yes"}, r"later='yes' must be True or False"),
        ({"candidates": "all"}, r"candidates='all' must be one of 'front'"),
        ({"ledger": 3}, r"ledger=3 must be None or the path"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_read(model, parameters, match):
    with pytest.raises(ParameterError, match=match):
        model.certify(None, None, **parameters)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"groups": "nobody"}, r"groups='nobody' must be a column of X"),
        ({"groups": np.arange(5)}, r"X has 1500 rows and groups has 5"),
        ({"groups": [None, *range(1499)]}, r"groups is missing in 1 row"),
        ({"y": np.zeros(5)}, r"y"),
        ({"y": np.full(1500, 7)}, r"neither 0 nor 1"),
        ({"sensitive": None}, r"sensitive"),
    ],
)
def test_rows_that_cannot_be_read_are_refused_before_they_are_opened(
    model, tmp_path, changes, match
):
    X, y, group = NEW
    rows = {"X": X, "y": y, "sensitive": group, **changes}
    with pytest.raises(InputError, match=match):
        model.certify(**rows, ledger=tmp_path / "ledger.jsonl")
    assert not (tmp_path / "ledger.jsonl").exists()


@pytest.mark.parametrize("place", [".", "file/ledger.jsonl"])
def test_a_ledger_that_cannot_be_a_file_is_refused(model, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"ledger='.*' cannot be opened"):
        model.certify(*NEW, ledger=tmp_path / place)


def test_a_constraint_on_a_grouping_that_fit_did_not_have_is_refused(model):
    known = model.constraint
    model.set_params(constraint=[known, "demographic_parity_difference[age] <= 0.1"])
    with pytest.raises(ParameterError, match="names the groups 'age'"):
        model.certify(*NEW)


def test_a_table_without_rows_is_refused(model):
    X, y, group = NEW
    with pytest.raises(InputError, match="X has no rows"):
        model.certify(X[:0], y[:0], group[:0])


@pytest.mark.parametrize("which", ["groups", "column"])
def test_a_column_of_entities_is_no_feature(which):
    X, y, group = individuals(400)
    X = X.assign(person=np.arange(400) // 2)
    model = quick().fit(X, y, group, groups="person")
    assert "person" not in model.model_.schema.names
    fresh, labels, who = individuals(1500, 2)
    if which == "groups":
        fresh = fresh.assign(person=200 + np.arange(1500) // 3)
        assert model.certify(fresh, labels, who, groups="person").subject.entities == "person"
    else:
        assert model.certify(fresh, labels, who).opening.n_rows == 1500


@pytest.mark.slow
def test_models_at_the_edge_of_the_constraint_are_rarely_certified_falsely():
    """The decision is the feature, and its gap in the population lies just above the bound."""
    rng = np.random.default_rng(3)

    def population(n_rows):
        group = rng.integers(2, size=n_rows)
        x = rng.random(n_rows) < np.array([0.3, 0.4001])[group]
        y = np.where(rng.random(n_rows) < 0.95, x, ~x)
        return pd.DataFrame({"x": x * 1.0, "id": rng.random(n_rows)}), y * 1, group

    model = FairAutoML(
        "demographic_parity_difference <= 0.1", n_trials=2, cv=2, mitigators=["none"],
        learners=["logistic_regression"], confidence=None, ensemble=0, random_state=0,
    )  # fmt: skip
    model.fit(*population(4000))
    kinds = pd.DataFrame({"x": [0.0, 1.0] * 50, "id": np.linspace(0, 1, 100)})
    assert model.predict(kinds).tolist() == [0, 1] * 50
    verdicts = [model.certify(*population(700)).verdict for _ in range(100)]
    # The .999 quantile of Bin(100, .04).
    assert verdicts.count("CERTIFIED") <= 11


@pytest.mark.slow
@pytest.mark.usefixtures("data_home")
def test_equal_rows_are_held_out_independently_so_that_the_level_holds():
    """In this table 60,420 rows have some 18,000 contents: drawn by content a third would err."""
    table = load("dutch_census_2001")
    frame, target, sensitive = table.frame, table.target, table.sensitive[0]
    assert len(frame.drop_duplicates()) < 0.4 * len(frame)
    accepted = (frame[target] == table.positive_label).to_numpy()
    groups, names = pd.factorize(frame[sensitive])
    rates = [accepted[groups == g].mean() for g in range(2)]
    just_missed = abs(rates[0] - rates[1]) - 1e-4
    constraint = Constraint.parse(f"demographic_parity_difference <= {just_missed}")

    def certified(salt, repeated):
        held = held_out(frame, 0.02, salt, repeated=repeated)
        counts = GroupCounts.from_rows(
            groups[held], accepted[held] * 1, accepted[held] * 1, n_groups=2
        )
        claim = claim_from_counts(constraint, counts, list(names))
        return judge(Evidence(claims=(claim,)), level_of(1, 0.05)).verdict is Verdict.CERTIFIED

    false = {kind: sum(certified(str(at), kind) for at in range(40)) for kind in (False, True)}
    # The .999 quantile of Bin(40, .04) is 7.
    assert false[False] <= 7 < false[True]
