import pytest

from fairautoml.exceptions import SpaceError
from fairautoml.search import space_files
from fairautoml.search.space_files import find_space, load_space


def test_a_known_space_is_found_with_its_origin():
    text, origin = find_space("learners", "lightgbm")
    assert "num_leaves" in text
    assert origin.endswith("lightgbm.yaml")


def test_a_known_portfolio_is_found():
    text, origin = find_space("portfolios", "default")
    assert "members:" in text
    assert origin.endswith("default.yaml")


@pytest.mark.parametrize("name", ["no_such", "", "../learners/lightgbm", "/etc/passwd", "a.b"])
def test_an_unknown_name_or_a_path_finds_nothing(name):
    assert find_space("learners", name) is None
    assert find_space("portfolios", name) is None


def test_the_folder_inside_the_package_comes_first(tmp_path, monkeypatch):
    for where in ("package", "checkout"):
        folder = tmp_path / where / "learners"
        folder.mkdir(parents=True)
        (folder / "toy.yaml").write_text(f"# {where}", encoding="utf-8")
    homes = (tmp_path / "package", tmp_path / "checkout")
    monkeypatch.setattr(space_files, "_homes", lambda: homes)
    assert find_space("learners", "toy")[0] == "# package"
    monkeypatch.setattr(space_files, "_homes", lambda: (tmp_path / "absent", homes[1]))
    assert find_space("learners", "toy")[0] == "# checkout"


def test_a_missing_folder_is_an_error_that_names_both_places(tmp_path, monkeypatch):
    monkeypatch.setattr(space_files, "_homes", lambda: (tmp_path / "one", tmp_path / "two"))
    with pytest.raises(
        SpaceError, match=r"search_spaces is missing: found neither .*one nor .*two"
    ):
        find_space("learners", "lightgbm")


def test_the_plug_ins_own_text_goes_before_the_file():
    text = "params: {depth: {type: integer, low: 1, high: 9, default: 3}}"
    assert load_space("learners", "lightgbm", text).defaults() == {"depth": 3}


def test_an_error_in_the_plug_ins_own_text_names_the_plug_in():
    with pytest.raises(SpaceError, match=r"^space of toy, line 1"):
        load_space("learners", "toy", "params: 3")


def test_a_plug_in_without_space_has_nothing_to_choose():
    assert load_space("mitigators", "no_such").defaults() == {}
