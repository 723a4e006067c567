"""A fit is read from top to bottom in one function."""

import ast
import inspect

from fairautoml import FairAutoML, FairAutoMLRegressor, pipeline
from fairautoml.estimator import Estimator
from fairautoml.explain import Explained

STEPS = [
    "prepare", "read_dataset", "apply_group_policy", "define_problem", "make_plan", "open_run",
    "optimize", "collect_candidates", "select_final", "refit_final", "make_predictor", "save_run",
]  # fmt: skip


def calls_of(function):
    tree = ast.parse(inspect.getsource(function))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    ordered = sorted(calls, key=lambda call: (call.lineno, call.col_offset))
    return [call.func.id for call in ordered]


def test_a_fit_takes_twelve_steps_in_order():
    assert [name for name in calls_of(pipeline.run_fit) if name in STEPS] == STEPS


def test_every_step_is_a_documented_function():
    assert all(inspect.getdoc(getattr(pipeline, step)) for step in STEPS)


def test_each_estimator_has_a_line_of_base_classes():
    for public in (FairAutoML, FairAutoMLRegressor):
        own = [c for c in public.__mro__ if c.__module__.startswith("fairautoml")]
        assert own == [public, Explained, Estimator]
