"""The page of an audit in a browser: it fits, can be read and printed, and runs nothing."""

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, quick

pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By


@pytest.fixture(scope="module")
def page():
    rows = individuals()
    races = {"a": "<script>document.title='owned'</script>", "b": "x" * 80, "c": "c & d"}
    groups = rows.groups.assign(race=rows.groups["race"].map(races))
    bounds = ["four_fifths", "demographic_parity_difference <= 0.3"]
    found = quick(None, rows.decision, groups, constraint=bounds)
    return found.in_form("ll144").to_html()


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_window_and_every_question_has_a_picture(browser, page, width, tmp_path):
    path = tmp_path / "audit.html"
    path.write_text(page, encoding="utf-8")
    browser.set_window_size(width, 900)
    browser.get_log("browser")
    browser.get(path.as_uri())
    assert browser.title == "Audit: fairautoml"
    sizes = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide, room = browser.execute_script(sizes)
    assert wide <= room
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure svg")) == 6
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('figure svg text')].map(text => "
        "text.getBoundingClientRect()).map(box => [box.left, box.right, box.height])"
    )
    assert all(-1 <= left < right <= room + 1 for left, right, _ in boxes)
    assert min(height for *_, height in boxes) >= 9
    tables = browser.find_elements(By.CSS_SELECTOR, "details table")
    assert tables
    assert not any(table.is_displayed() for table in tables)
    browser.find_element(By.CSS_SELECTOR, "details summary").click()
    assert tables[0].is_displayed()
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_the_tables_are_printed(browser, page, tmp_path):
    path = tmp_path / "audit.html"
    path.write_text(page, encoding="utf-8")
    browser.get(path.as_uri())
    table = browser.find_element(By.CSS_SELECTOR, "details table")
    visible = "return arguments[0].checkVisibility()"
    assert not browser.execute_script(visible, table)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert browser.execute_script(visible, table)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_rates_of_a_constraint_have_a_picture():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups["sex"], constraint="equalized_odds <= 0.1")
    titles = [plot.title for section in found.sections for plot in section.pictures]
    assert titles[:2] == ["True positive rate of sex", "False positive rate of sex"]
    assert "True positive rate of sex" in found.to_html()


def test_rates_can_be_plotted():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    rows = individuals()
    axes = quick(None, rows.decision, rows.groups).plot("race")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    points = axes.lines[0].get_xdata()
    expected = pd.Series(rows.decision).groupby(rows.groups["race"]).mean()
    assert np.allclose(points, expected)
    pyplot.close("all")
