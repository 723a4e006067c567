"""A certificate against its files: every change is found, and said where."""

import contextlib
import hashlib
import json
import os
import shlex
import shutil

import joblib
import numpy as np
import pandas as pd
import pytest
from certified_cases import individuals

from fairautoml.certification.certificate import Certificate
from fairautoml.cli.main import main
from fairautoml.cli.verify import verify_files
from fairautoml.exceptions import FairAutoMLError

ROLES = ["--target", "y", "--sensitive", "group"]
REQUEST = ["--constraint", "demographic_parity_difference<=0.25"]
FIT = ["--learner", "logistic_regression", "--trials", "2", "--ensemble", "0"]
HELD = ["--holdout", "0.4"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run with its table and its ledger."""
    place = tmp_path_factory.mktemp("kept")
    X, y, group = individuals(1200)
    table = X.round(3).assign(y=y, group=group)
    table.to_csv(place / "people.csv", index=False)
    code = main(
        [
            *("fit", str(place / "people.csv"), *ROLES, *REQUEST, *FIT, *HELD),
            *("--out", str(place / "run"), "--ledger", str(place / "ledger.jsonl")),
            "--require-certified",
        ]
    )
    assert code == 0
    return place


def verified(place, **other):
    parts = {
        "certificate": place / "run" / "certificate.json",
        "model": place / "run",
        "data": str(place / "people.csv"),
    }
    return verify_files(**{**parts, **other})


def test_a_certificate_is_what_it_says(kept, capsys):
    found = verified(kept)
    assert found.ok
    assert set(found.checked) == {
        "bytes", "claims", "level", "numbers", "model", "data", "counts", "ledger", "model file",
    }  # fmt: skip
    certificate = str(kept / "run" / "certificate.json")
    trusted = ["--model", str(kept / "run")]
    assert main(["verify", certificate, *trusted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchecked"] == ["data", "counts", "ledger"]


def test_a_certificate_alone_is_consistent_but_not_anchored(kept, tmp_path, capsys):
    alone = ["verify", str(kept / "run" / "certificate.json")]
    assert main(alone) == 11
    out = capsys.readouterr().out
    assert "not checked: model, data, counts, ledger" in out
    assert "the certificate is consistent with itself, not anchored" in out
    assert main([*alone, "--json"]) == 11
    assert json.loads(capsys.readouterr().out)["anchored"] is False
    assert main([*alone, "--ledger", str(kept / "ledger.jsonl")]) == 0
    (tmp_path / "key").write_bytes(b"secret")
    certificate = Certificate.from_bytes((kept / "run" / "certificate.json").read_bytes())
    (tmp_path / "signed.json").write_bytes(certificate.to_bytes(key=b"secret"))
    signed = ["verify", str(tmp_path / "signed.json")]
    assert main(signed) == 11
    assert main([*signed, "--key", str(tmp_path / "key")]) == 0


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {shlex.quote(str(self.marker))}",)


@pytest.fixture
def exchanged(kept, tmp_path):
    """A run of an older version whose pickle runs a command, its hash written into model.json."""
    run = tmp_path / "run"
    shutil.copytree(kept / "run", run)
    joblib.dump(Payload(tmp_path / "ran"), run / "model.joblib")
    about = json.loads((run / "model.json").read_text())
    about |= {"format": 1, "estimator": "model.joblib"}
    about["sha256"] = hashlib.sha256((run / "model.joblib").read_bytes()).hexdigest()
    (run / "model.json").write_text(json.dumps(about))
    return run


@pytest.mark.parametrize("with_data", [False, True])
def test_an_exchanged_model_is_not_run_and_what_was_not_checked_is_said(
    kept, exchanged, capsys, with_data
):
    arguments = ["verify", str(exchanged / "certificate.json"), "--model", str(exchanged)]
    arguments += ["--data", str(kept / "people.csv")] * with_data
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert not (exchanged.parent / "ran").exists()
    lacking = "model, counts" if with_data else "model, data, counts, ledger"
    assert f"not checked: {lacking}\n" in out
    assert "The model was hashed, not loaded, so model, counts could not be checked." in out
    assert "add --trust-pickle" in out
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["need_trust_pickle"] == ["model", "counts"]
    assert not (exchanged.parent / "ran").exists()
    with contextlib.suppress(AttributeError):  # the payload is no model
        main([*arguments, "--trust-pickle"])
    assert (exchanged.parent / "ran").exists()


def test_model_data_and_ledger_are_compared_without_trust(kept, tmp_path):
    found = verified(kept)
    assert found.ok
    assert {"data", "ledger", "model file"} <= set(found.checked)
    assert found.unchecked == ()
    changed = tmp_path / "people.csv"
    changed.write_bytes(flipped(kept / "people.csv", 100, 0))
    assert not verified(kept, data=str(changed)).ok


def test_a_run_with_another_certificate_is_found_without_loading_it(kept, tmp_path):
    shutil.copytree(kept / "run", tmp_path / "run")
    about = json.loads((tmp_path / "run" / "model.json").read_text())
    about["certificate_sha256"] = "0" * 64
    (tmp_path / "run" / "model.json").write_text(json.dumps(about))
    (problem,) = verified(kept, model=tmp_path / "run", data=None).problems
    assert problem.startswith("model file: its run has the certificate with SHA-256 000")


def test_a_signed_copy_belongs_to_the_same_run(kept, tmp_path):
    certificate = Certificate.from_bytes((kept / "run" / "certificate.json").read_bytes())
    (tmp_path / "key").write_bytes(b"secret")
    (tmp_path / "signed.json").write_bytes(certificate.to_bytes(key=b"secret"))
    signed = {"certificate": tmp_path / "signed.json", "key": tmp_path / "key"}
    assert verified(kept, **signed).ok


def test_a_run_made_in_python_is_distinguished_from_a_folder_that_is_no_run(
    kept, tmp_path, capsys
):
    shutil.copytree(kept / "run", tmp_path / "run")
    (tmp_path / "run" / "source.json").unlink()
    arguments = ["--model", str(tmp_path / "run"), "--data", str(kept / "people.csv")]
    assert main(["verify", str(kept / "run" / "certificate.json"), *arguments]) == 8
    said = capsys.readouterr().err
    assert "does not say which table it was fitted to" in said
    assert "no finished run" not in said


def flipped(path, at, value):
    """Return the bytes of a file with one of them changed."""
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 + value % 255
    return bytes(content)


def wrong(place):
    """Whether something is found, one way or the other."""
    try:
        return not verified(place).ok
    except FairAutoMLError:
        return True


def missed_changes(place, count):
    files = [place / "run" / "certificate.json", place / "run" / "estimator.json.gz"]
    files.append(place / "people.csv")
    rng = np.random.default_rng(0)
    missed = []
    for turn in range(count):
        file = files[turn % len(files)]
        before = file.read_bytes()
        at, value = (int(number) for number in rng.integers(0, 2**31, size=2))
        file.write_bytes(flipped(file, at, value))
        if not wrong(place):
            missed.append((file.name, at, value))
        file.write_bytes(before)
    return missed


def test_sixty_random_changes_of_a_byte_are_all_found(kept):
    assert missed_changes(kept, 60) == []
    assert verified(kept).ok


@pytest.mark.slow
def test_a_thousand_random_changes_of_a_byte_are_all_found(kept):
    assert missed_changes(kept, 1000) == []


def test_changed_values_are_found_though_the_file_was_not_recorded(kept, monkeypatch):
    monkeypatch.setattr("fairautoml.cli.verify._exchanged", lambda *_: "")
    individuals_csv = kept / "people.csv"
    before = individuals_csv.read_bytes()
    header, *rows = before.decode().splitlines()
    # In all rows, because which ones are held out depends on the salt of a new ledger.
    changed = [f"{float(x) + 0.001:.3f},{others}" for x, others in (r.split(",", 1) for r in rows)]
    individuals_csv.write_text("\n".join([header, *changed]))
    (problem,) = verified(kept).problems
    individuals_csv.write_bytes(before)
    assert problem.startswith("data: the certificate is about")


def test_the_wrong_field_is_named(kept, tmp_path, capsys):
    content = json.loads((kept / "run" / "certificate.json").read_bytes())
    content["claims"][0]["cells"][0][0]["x"] += 30
    forged = tmp_path / "certificate.json"
    forged.write_bytes(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    assert main(["verify", str(forged)]) == 3
    out = capsys.readouterr().out
    assert "WRONG: the content does not have the SHA-256 it states" in out
    assert "DO NOT RELY" in out


def test_another_model_is_not_the_one_certified(kept, tmp_path):
    other = tmp_path / "other"
    table = str(kept / "people.csv")
    ledger = ["--ledger", str(tmp_path / "l.jsonl")]
    requested = [
        *ROLES,
        *REQUEST,
        "--learner",
        "random_forest",
        "--trials",
        "2",
        "--holdout",
        "0.4",
    ]
    main(["fit", table, *requested, *ledger, "--out", str(other)])
    problems = verified(kept, model=other, data=None).problems
    assert any(problem.startswith("model: the certificate is about") for problem in problems)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["verify", "nothing.json"], "CERTIFICATE 'nothing.json' is no file"),
        (["verify", "{certificate}", "--data", "people.csv"], "--data needs --model RUN"),
        (["verify", "{certificate}", "--ledger", "none"], "--ledger 'none' is no file"),
    ],
)
def test_what_is_missing_is_said(kept, arguments, match, capsys):
    certificate = str(kept / "run" / "certificate.json")
    assert main([part.format(certificate=certificate) for part in arguments]) == 2
    assert match in capsys.readouterr().err


def test_the_plan_says_what_can_be_certified(kept, capsys):
    table = str(kept / "people.csv")
    assert main(["plan", table, *ROLES, *REQUEST]) == 0
    assert "of the rows: power" in capsys.readouterr().out
    tight = ["--constraint", "demographic_parity_difference<=0.02"]
    assert main(["plan", table, *ROLES, *tight, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["fraction"], plan["reason"]) == (None, "too_few_rows")
    assert plan["plans"][0]["n_rows_needed"] > 5000
    assert main(["plan", table, *ROLES]) == 2
    assert "--constraint, --sensitive: give at least one of each" in capsys.readouterr().err


def test_the_plan_reads_sensitive_columns_as_fit_does(kept, tmp_path, capsys):
    numbers = ["plan", str(kept / "people.csv"), "--target", "y", "--sensitive", "x", *REQUEST]
    assert main(numbers) == 3
    assert "--bins x:25,60" in capsys.readouterr().err
    assert main([*numbers, "--bins", "x:0"]) == 0
    table = pd.read_csv(kept / "people.csv")
    table.loc[::10, "group"] = None
    table.to_csv(tmp_path / "gaps.csv", index=False)
    gaps = ["plan", str(tmp_path / "gaps.csv"), *ROLES, *REQUEST]
    assert main(gaps) == 3
    assert "(--sensitive-missing)" in capsys.readouterr().err
    assert main([*gaps, "--sensitive-missing", "exclude"]) == 0


def test_the_command_line_prints_the_certificate(kept, tmp_path, capsys):
    requested = [*ROLES, *REQUEST, *FIT, *HELD, "--ledger", str(tmp_path / "l.jsonl")]
    assert main(["fit", str(kept / "people.csv"), *requested]) == 0
    assert "Certificate  CERTIFIED" in capsys.readouterr().out
    assert main(["fit", str(kept / "people.csv"), *requested, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["certificate"]["verdict"] == "CERTIFIED"


def test_a_script_can_insist_on_a_certificate(kept, tmp_path):
    requested = [*ROLES, *REQUEST, *FIT, *HELD, "--delta", "1e-9", "--require-certified"]
    assert main(["fit", str(kept / "people.csv"), *requested]) == 9


def test_columns_of_individuals_and_times_are_read_from_the_table(tmp_path, capsys):
    X, y, group = individuals(2000)
    table = X.assign(y=y, group=group, person=np.arange(2000), day=np.arange(2000))
    table.to_csv(tmp_path / "people.csv", index=False)
    out = str(tmp_path / "run")
    requested = [*ROLES, *REQUEST, *FIT, "--groups", "person"]
    requested += ["--time-column", "day", "--out", out, "--holdout", "0.2"]
    assert main(["fit", str(tmp_path / "people.csv"), *requested]) == 0
    assert "Certificate  VALIDATED_ON_LATER_DATA" in capsys.readouterr().out
    arguments = ["--model", out]
    assert main(["verify", str(tmp_path / "run" / "certificate.json"), *arguments]) == 0
    assert main(["predict", out, str(tmp_path / "people.csv")]) == 0


def test_a_run_about_overlapping_groups_is_verified_with_its_table(tmp_path):
    X, y, group = individuals(1200)
    terms = {"p": (X["x"] > 0.3).astype(int), "q": (X["z"] > 0).astype(int)}
    X.round(3).assign(y=y, group=group, **terms).to_csv(tmp_path / "people.csv", index=False)
    requested = ("--constraint", "demographic_parity_difference[group]<=0.4", *HELD)
    groups = ("--overlapping", "identity=p,q", "--ledger", str(tmp_path / "ledger.jsonl"))
    run = tmp_path / "run"
    fitted = main(
        ["fit", str(tmp_path / "people.csv"), *ROLES, *groups, *FIT, *requested, "--out", str(run)]
    )
    assert fitted == 0
    found = verified(tmp_path, ledger=tmp_path / "ledger.jsonl")
    assert found.ok
    assert {"data", "counts"} <= set(found.checked)


def test_a_table_of_new_rows_is_verified_with_the_rows_that_were_opened(kept, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(kept / "run", run)
    ledger = ["--ledger", str(tmp_path / "ledger.jsonl")]
    for name, seeds in (("first.csv", [5]), ("second.csv", [5, 6])):
        parts = [individuals(700, seed) for seed in seeds]
        tables = [X.round(3).assign(y=y, group=group) for X, y, group in parts]
        pd.concat(tables).to_csv(tmp_path / name, index=False)
        assert main(["certify", str(run), str(tmp_path / name), *ledger]) == 0
    opening = Certificate.from_bytes((run / "certificate.json").read_bytes()).opening
    assert (opening.n_rows, opening.n_dropped) == (700, 700)
    found = verified(tmp_path, data=str(tmp_path / "second.csv"), ledger=tmp_path / "ledger.jsonl")
    assert found.ok
    assert found.unchecked == ()
    other = verified(tmp_path, data=str(tmp_path / "first.csv"), ledger=tmp_path / "ledger.jsonl")
    assert [problem.split(":")[0] for problem in other.problems] == ["data"]
