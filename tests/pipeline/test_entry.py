import numpy as np

from fairautoml.mitigators._group_program import CommonRule
from fairautoml.records import Config, ConstraintResult, Entry


class ManyThresholds(CommonRule):
    """A rule whose description has a part for each of many groups."""

    def describe(self):
        return ", ".join(f"group {at}: >= 0.5" for at in range(100))


def entry(rule, **changes):
    parts = {
        "trial_key": "a",
        "trial_number": 1,
        "config": Config(learner="lightgbm", mitigation="reweighing"),
        "mitigator": "group_thresholds",
        "tolerance": 0.05,
        "rule": rule,
        "score": 0.86214,
        "value": 0.86214,
        "measures": (
            ConstraintResult(metric="m", system="race", value=0.04, gap=0.04, limit=0.1),
            ConstraintResult(metric="m", system="sex", value=0.03, gap=0.03, limit=0.05),
        ),
        "counts": np.ones((2, 2, 2)),
        "deployed": np.ones((2, 2, 2)),
        "constant": False,
        "seconds": 1.0,
    }
    return Entry(**{**parts, **changes})


def test_an_entry_prints_as_its_model_the_gap_nearest_to_its_limit_and_its_rule():
    assert str(entry(CommonRule(threshold=0.5))).splitlines() == [
        "lightgbm with reweighing with group_thresholds: score 0.8621 (cross-fitted)",
        "m[sex]: gap 0.0300, limit 0.05",
        f"rule: {CommonRule(threshold=0.5).describe()}",
    ]


def test_an_ensemble_prints_how_many_trials_it_averages_and_a_long_rule_is_cut():
    found = entry(ManyThresholds(threshold=0.5), members=(("a", 0.4), ("b", 0.6)), measures=())
    first, rule = str(found).splitlines()
    assert first.startswith("lightgbm of 2 trials with")
    assert len(rule) < 120
    assert rule.endswith("...")


def test_an_undefined_gap_prints_with_its_reason():
    one = ConstraintResult(
        metric="m", system="sex", value=None, gap=np.inf, limit=0.05, reason="no positives"
    )
    found = entry(CommonRule(threshold=0.5), measures=(one,))
    assert "m[sex]: gap undefined (no positives), limit 0.05" in str(found)
