import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fairautoml
from fairautoml import data, exceptions
from fairautoml.data import load


@pytest.mark.parametrize("module", [fairautoml, data])
def test_every_public_name_can_be_imported(module):
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_public_names_are_listed():
    assert dir(fairautoml) == sorted(fairautoml.__all__)


def test_every_public_name_is_on_the_page_of_the_api():
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$", page, re.MULTILINE))
    assert {*fairautoml.__all__} - {"__version__"} <= listed


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'FairAutoMl'"):
        fairautoml.FairAutoMl  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert fairautoml.__version__ == tomllib.loads(text)["project"]["version"]


def test_importing_the_package_imports_no_heavy_library():
    code = (
        "import sys, fairautoml\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'optuna', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_the_estimator_imports_no_library_that_was_not_requested():
    code = (
        "import sys\nfrom fairautoml import FairAutoML\nFairAutoML().check_parameters()\n"
        "heavy = {'flaml', 'fairlearn', 'shap', 'catboost', 'torch', 'interpret', 'jinja2'}\n"
        "heavy |= {'sqlalchemy'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("kind", [str, Path])
def test_a_run_folder_is_loaded_by_its_path(tmp_path, kind):
    table = load("lending").frame.head(300)
    X, y = table.drop(columns="repaid"), table["repaid"]
    model = fairautoml.FairAutoML(n_trials=2, random_state=0, run_dir=tmp_path / "run")
    decided = model.fit(X, y).predict(X)
    loaded = fairautoml.load_run(kind(tmp_path / "run"))
    assert loaded.predict(X).tolist() == decided.tolist()


def test_a_folder_without_a_run_is_not_loaded(tmp_path):
    with pytest.raises(exceptions.RunFolderError, match="is no finished run"):
        fairautoml.load_run(str(tmp_path))


def test_every_error_is_of_one_tree():
    errors = [v for v in vars(exceptions).values() if isinstance(v, type)]
    for error in errors:
        root = exceptions.FairAutoMLWarning if error.__name__.endswith("Warning") else None
        assert issubclass(error, exceptions.FairAutoMLError if root is None else root)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        ("InputError", ValueError),
        ("UnknownNameError", LookupError),
        ("MissingExtraError", ImportError),
        ("NoModelError", RuntimeError),
        ("RunFolderError", OSError),
    ],
)
def test_an_error_can_be_caught_as_a_builtin_one(error, builtin):
    assert issubclass(getattr(exceptions, error), builtin)


def test_every_parameter_of_the_estimator_is_documented():
    # Python 3.13 strips the indentation of docstrings, earlier versions keep it.
    described = inspect.getdoc(fairautoml.FairAutoML).split("Attributes\n")[0]
    headings = re.findall(r"^(\w[\w, ]*) : ", described, flags=re.MULTILINE)
    names = [name for heading in headings for name in heading.split(", ")]
    assert sorted(names) == sorted(fairautoml.FairAutoML().get_params())
