"""What certify answers to honest uses of the same rows, and to attempts to use them unnoticed."""

import pickle

import numpy as np
import pandas as pd
import pytest
from certified_cases import individuals, quick

from fairautoml import GroupPolicy, audit
from fairautoml.certification.certificate import certificate_text
from fairautoml.certification.ledger import Ledger, ledger_of, level_of
from fairautoml.certification.rows import held_out
from fairautoml.data.frames import Inputs, identity
from fairautoml.exceptions import DegradedWarning, InputError

NEW = individuals(1500, 2)
STRICT = "demographic_parity_difference <= 0.001"


@pytest.fixture(scope="module")
def fitted():
    return quick(ensemble=0).fit(*individuals())


@pytest.fixture
def model(fitted):
    return pickle.loads(pickle.dumps(fitted))


@pytest.fixture(scope="module")
def other():
    return quick(mitigators=["none"], ensemble=0, random_state=5).fit(*individuals(1000, 7))


def coarse(n_rows, seed):
    """Rows of a population in which most rows equal another one."""
    X, y, group = individuals(n_rows, seed)
    return X.round(1).clip(-2, 2), y, group


def joined(*parts):
    X, y, group = zip(*parts, strict=True)
    return pd.concat(X, ignore_index=True), np.concatenate(y), np.concatenate(group)


def numbers(certificate):
    opening = certificate.opening
    return opening.index, opening.n_rows, opening.n_dropped


@pytest.mark.parametrize("drawn", [individuals, coarse])
def test_a_cell_that_runs_twice_returns_the_same_bytes(model, drawn):
    rows = drawn(1500, 2)
    first = model.certify(*rows)
    assert model.certify(*rows).to_bytes() == first.to_bytes()


def test_another_bound_is_answered_at_the_level_of_the_first_opening(model):
    first = model.certify(*NEW)
    model.set_params(constraint="demographic_parity_difference <= 0.2")
    second = model.certify(*NEW)
    assert second.opening == first.opening
    assert second.claims[0].bound == 0.2


@pytest.mark.parametrize("drawn", [individuals, coarse])
def test_of_a_table_with_500_new_rows_only_these_are_tested_at_the_first_level(model, drawn):
    old = drawn(1500, 2)
    assert model.certify(*old).verdict == "CERTIFIED"
    grown = joined(old, drawn(500, 3))
    found = model.certify(*grown)
    assert numbers(found) == (1, 500, 1500)
    assert model.certify(*grown).to_bytes() == found.to_bytes()
    assert "500; 1,500 more were opened before" in certificate_text(found)


@pytest.mark.parametrize("drawn", [individuals, coarse])
def test_a_monthly_refit_on_a_growing_table_is_tested_on_the_rows_of_the_month(drawn, tmp_path):
    path = tmp_path / "ledger.jsonl"
    salt, table, before = Ledger(path).salt, drawn(2000, 1), 0
    for month in range(3):
        X, y, group = table
        held = held_out(identity(Inputs(X=X, y=y)), 0.4, salt)
        model = quick(ensemble=0).fit(X[~held], y[~held], group[~held])
        found = model.certify(X[held], y[held], group[held], ledger=path)
        assert numbers(found) == (1, held.sum() - before, before)
        before = int(held.sum())
        table = joined(table, drawn(1000, 10 + month))


def test_a_certified_model_is_monitored_at_the_first_level_every_month(model):
    for month in range(3):
        found = model.certify(*individuals(1500, 20 + month))
        assert (found.verdict, found.opening.level) == ("CERTIFIED", level_of(1, 0.05))


def test_new_rows_until_one_set_passes_share_the_error_probability(model):
    model.set_params(constraint=STRICT)
    levels = []
    for seed in range(4):
        found = model.certify(*individuals(300, 30 + seed))
        levels.append(found.opening.level)
        assert found.verdict != "CERTIFIED"
    assert levels == [level_of(j, 0.05) for j in (1, 2, 3, 4)]
    assert "3 earlier tests of this model that did not certify it" in certificate_text(found)
    assert "3 earlier tests of this model" in str(found)


def without_a_row(X, y, group):
    return X[1:], y[1:], group[1:]


def permuted(X, y, group):
    order = np.random.default_rng(0).permutation(len(y))
    return X.iloc[order], y[order], group[order]


def with_columns_in_another_order(X, y, group):
    return X.iloc[:, ::-1], y, group


def with_a_dummy_column(X, y, group):
    return X.assign(dummy=np.arange(len(y))), y, group


def rounded(X, y, group):
    return X.round(3), y, group


def doubled(X, y, group):
    return joined((X, y, group), (X, y, group))


def as_array(X, y, group):
    return X.to_numpy(), y, group


def with_other_types(X, y, group):
    return X.astype({"x": "float32", "z": "Float64"}), y.astype(float), pd.Categorical(group)


def spelled_otherwise(X, y, group):
    return X, y, np.char.add(group, " ")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "changed",
    [
        permuted,
        with_columns_in_another_order,
        with_a_dummy_column,
        as_array,
        with_other_types,
        spelled_otherwise,
    ],
)
def test_the_same_rows_in_another_form_return_the_same_certificate(model, other, changed):
    first = model.certify(*NEW)
    assert model.certify(*changed(*NEW)) == first
    assert other.certify(*changed(*NEW)).opening.n_earlier == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("changed", [without_a_row, rounded, doubled])
def test_rows_that_were_changed_a_little_count_as_opened(model, other, changed):
    model.certify(*NEW)
    for one in (model, other):
        found = one.certify(*changed(*NEW))
        assert found.opening.index > 1
        assert found.opening.n_dropped == 0


def test_rows_that_were_rounded_and_permuted_are_not_recognized(other, model):
    model.certify(*NEW)
    assert other.certify(*permuted(*rounded(*NEW))).opening.index == 1


def test_rows_that_were_doubled_before_the_first_opening_are_warned_about(model):
    with pytest.warns(DegradedWarning, match="remove the copies"):
        model.certify(*doubled(*NEW))


def test_a_model_with_a_dummy_column_of_its_own_finds_the_table_opened(model):
    model.certify(*NEW)
    X, y, group = with_a_dummy_column(*individuals())
    own = quick(ensemble=0).fit(X, y, group)
    assert own.certify(*with_a_dummy_column(*NEW)).opening.index == 2


@pytest.mark.filterwarnings("ignore:columns of X that were not there")
def test_a_model_with_fewer_columns_finds_the_rows_opened_if_the_table_is_complete(model):
    model.certify(*NEW)
    X, y, group = individuals()
    own = quick(ensemble=0).fit(X[["x"]], y, group)
    assert own.certify(*permuted(*NEW)).opening.index == 2


def test_refits_with_other_seeds_share_the_error_probability_of_the_rows():
    X, y, group = individuals(400)
    found = []
    for seed in range(20):
        own = quick(ensemble=0, n_trials=1, random_state=seed, objective="balanced_accuracy")
        kept = np.random.default_rng(seed).random(len(y)) < 0.9
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)
            own.fit(X[kept], y[kept], group[kept])
        found.append(own.certify(*NEW).opening)
    opened = [one for one in found if one.index]
    assert [one.index for one in opened] == list(range(1, len(opened) + 1))
    assert sum(one.level for one in opened) <= 0.05


def test_audits_and_certificates_share_their_openings_with_and_without_features(model):
    X, y, group = NEW
    decided = (X["z"] > 0).astype(int)
    options = {"constraint": STRICT, "independent": True, "leakage": False}
    model.certify(*NEW)
    for number, given in enumerate(({}, {"X": X}, {"X": with_a_dummy_column(*NEW)[0]})):
        notes = audit(y, decided ^ (np.arange(1500) == number), group, **given, **options).notes
        assert any("Not the first opening of these rows" in note for note in notes)


def test_a_certificate_after_an_audit_without_features_is_stricter(model):
    X, y, group = NEW
    audit(y, model.predict(X, group), group, constraint=STRICT, independent=True, leakage=False)
    assert model.certify(*permuted(*NEW)).opening.index == 2


def test_training_rows_are_refused_by_audit_and_certify(model):
    X, y, group = individuals()
    options = {"X": X, "model": model, "constraint": STRICT, "independent": True}
    with pytest.raises(InputError, match="equal training rows"):
        audit(y, model.predict(X, group), group, **options)
    with pytest.raises(InputError, match="equal training rows"):
        model.certify(*permuted(X, y, group))


def test_other_rows_of_entities_that_fit_has_seen_are_refused(tmp_path):
    X, y, group = individuals(400)
    persons = np.arange(400) // 2
    model = quick(ensemble=0).fit(X.assign(person=persons), y, group, groups="person")
    fresh, labels, who = individuals(600, 2)
    new, seen = np.arange(600) + 200, np.arange(600) + 150
    path = tmp_path / "ledger.jsonl"
    for rows, groups in (
        (fresh.assign(person=seen), "person"),
        (fresh.assign(person=seen), None),
        (fresh, seen.astype(float)),
        (fresh, seen.astype(str)),
    ):
        with pytest.raises(InputError, match=r"50 of the 600 rows .* seen, such as '150'"):
            model.certify(rows, labels, who, groups=groups, ledger=path)
    assert not path.exists()
    found = model.certify(fresh.assign(person=new // 2 * 2), labels, who)
    assert (found.opening.index, found.subject.entities) == (1, "person")


def test_groups_that_cannot_be_tested_are_named_before_a_row_is_opened(model, tmp_path):
    X, y, group = NEW
    path = tmp_path / "ledger.jsonl"
    strange, missing = group.astype(object), group.astype(object)
    strange[:7], missing[:5] = "c", None
    for given, said in (
        (strange, "The group of 7 rows in 'sensitive' is missing or new to the model"),
        (missing, "The group of 5 rows in 'sensitive' is missing or new"),
        (np.full(1500, "a"), "No rows of group 'b'"),
    ):
        found = model.certify(X, y, given, ledger=path)
        assert (found.verdict, found.reason) == ("INCONCLUSIVE", "group_absent")
        assert said in str(found)
        assert "No row was opened" in str(found)
    assert not path.exists()


def test_rows_without_a_group_are_counted_on_the_certificate():
    X, y, group = individuals()
    given = group.astype(object)
    given[:20] = None
    model = quick(ensemble=0, group_policy=GroupPolicy(missing="exclude")).fit(X, y, given)
    fresh, labels, who = NEW
    absent = who.astype(object)
    absent[:31] = None
    found = model.certify(fresh, labels, absent)
    assert found.claims[0].n_outside == 31
    assert sum(cell["n"] for cell in found.claims[0].cells[0]) == 1469
    assert "31 rows are in none of the compared groups" in certificate_text(found)
    assert "31 rows" in str(found)


def test_all_tables_share_the_ledger_of_the_user(model):
    model.certify(*NEW)
    assert ledger_of(None).path.name == "ledger.jsonl"
