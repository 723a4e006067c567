"""The page in a real browser: it renders, sorts, filters, obeys the keyboard, and stays quiet."""

from xml.etree import ElementTree

import pytest
from run_documents import HOSTILE, documents

from fairautoml.bench.page import Curve, Ranked, SweepView, Table, ranks_picture, sweep_page
from fairautoml.report import run_page, view_of

pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


@pytest.fixture
def opened(browser, tmp_path):
    def open_page(page, width=1280):
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        browser.set_window_size(width, 900)
        browser.get_log("browser")
        browser.get(path.as_uri())
        return browser

    yield open_page
    complaints = [entry["message"] for entry in browser.get_log("browser")]
    assert complaints == []


@pytest.fixture
def page():
    return run_page(view_of(documents(n_entries=60)))


def ranks(browser):
    rows = browser.find_elements(By.CSS_SELECTOR, "#board tbody tr")
    return [int(row.get_attribute("data-rank")) for row in rows if row.is_displayed()]


def head(browser, name):
    buttons = browser.find_elements(By.CSS_SELECTOR, "#board thead button")
    return next(button for button in buttons if button.text.strip() == name)


def test_the_first_page_of_the_board_is_shown_and_the_next_one_on_demand(opened, page):
    browser = opened(page)
    assert ranks(browser) == list(range(1, 26))
    browser.find_element(By.ID, "after").click()
    assert ranks(browser) == list(range(26, 51))
    assert "26 to 50 of 60" in browser.find_element(By.ID, "where").text


def test_a_column_sorts_up_and_down_by_its_numbers(opened, page):
    browser = opened(page)
    head(browser, "gap").click()
    gaps = {row.rank: row.gap for row in view_of(documents(n_entries=60)).rows}
    shown = ranks(browser)
    assert [gaps[r] for r in shown] == sorted(gaps.values())[:25]
    head(browser, "gap").click()
    assert [gaps[r] for r in ranks(browser)] == sorted(gaps.values(), reverse=True)[:25]


def test_sorting_works_with_the_keyboard_alone(opened, page):
    browser = opened(page)
    head(browser, "accuracy").send_keys(Keys.ENTER)
    cell = browser.find_element(By.CSS_SELECTOR, "#board th[aria-sort]")
    assert (cell.text.strip(), cell.get_attribute("aria-sort")) == ("accuracy", "ascending")


def test_filters_leave_what_fits_all_of_them(opened, page):
    browser = opened(page)
    browser.find_element(By.ID, "find").send_keys("lightgbm")
    browser.find_element(By.ID, "only-feasible").click()
    expected = [
        row.rank
        for row in view_of(documents(n_entries=60)).rows
        if row.learner == "lightgbm" and row.feasible
    ]
    assert ranks(browser) == expected[:25]
    browser.find_element(By.ID, "find").send_keys("nothing is called that")
    assert ranks(browser) == []
    assert "no classifier" in browser.find_element(By.ID, "where").text


def test_a_point_of_the_front_reports_by_keyboard_how_to_get_it(opened, page):
    browser = opened(page)
    point = browser.find_element(By.CSS_SELECTOR, 'g[data-rank="3"]')
    browser.execute_script("arguments[0].focus()", point)
    point.send_keys(Keys.ENTER)
    detail = browser.find_element(By.ID, "detail").text
    assert "model.select(max_gap=0.0301)" in detail
    assert "Female: >= 0.3" in detail


def test_a_click_on_a_rank_shows_the_entry_and_marks_it(opened, page):
    browser = opened(page)
    browser.find_element(By.CSS_SELECTOR, '#board tr[data-rank="7"] button').click()
    marked = browser.find_element(By.CSS_SELECTOR, ".picked-row")
    assert marked.get_attribute("data-rank") == "7"
    assert "not stored" in browser.find_element(By.ID, "detail").text


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out_of_the_window(opened, page, width):
    browser = opened(page, width)
    wide, room = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= room


def test_text_of_pictures_is_readable_on_a_telephone(opened, page):
    browser = opened(page, 400)
    heights = browser.execute_script(
        "return [...document.querySelectorAll('main figure svg text')]"
        ".map(text => text.getBoundingClientRect().height).filter(height => height > 0)"
    )
    assert len(heights) > 20
    assert min(heights) >= 9


def test_every_row_of_the_choice_is_printed(opened, page):
    browser = opened(page)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert len(ranks(browser)) == 60
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_names_from_the_data_start_nothing(opened):
    for name in HOSTILE:
        hostile = documents(names=(name, "Male"), name=name, certificate_text=name)
        browser = opened(run_page(view_of(hostile)))
        assert browser.find_elements(By.ID, "owned") == []
        assert browser.find_elements(By.CSS_SELECTOR, "main img") == []
        assert len(ranks(browser)) == 12


def test_names_in_the_picture_of_ranks_are_text():
    for name in HOSTILE:
        ranked = (Ranked(name=name, rank=1.0, low=1.0, high=1.0),)
        view = SweepView(
            name=name, about="", blocks=1, ranked=ranked, tables=(), curves=(),
            failures=None, manifest={}, command="",
        )  # fmt: skip
        tags = ElementTree.fromstring(ranks_picture(view)).iter()
        kinds = {tag.tag.rpartition("}")[2] for tag in tags}
        assert kinds == {"svg", "style", "rect", "g", "line", "circle", "text"}


@pytest.mark.parametrize("width", [400, 1280])
def test_names_and_numbers_of_the_picture_of_ranks_are_whole_and_apart(opened, width):
    ranked = tuple(
        Ranked(name=name, rank=rank, low=1.0, high=6.5)
        for name, rank in (("fairautoml", 1.25), ("flaml_threshold_optimizer+margin", 6.25))
    )
    view = SweepView(
        name="s", about="", blocks=1, ranked=ranked, tables=(), curves=(),
        failures=None, manifest={}, command="",
    )  # fmt: skip
    boxes = opened(sweep_page(view), width).execute_script(
        "return [...document.querySelectorAll('figure svg > text')].map(text => "
        "text.getBoundingClientRect()).filter(box => box.width > 0)"
        ".map(box => [box.left, box.right, box.top])"
    )
    assert len(boxes) == 4
    assert all(0 <= left < right <= width for left, right, _ in boxes)
    for name, number in ((boxes[0], boxes[1]), (boxes[2], boxes[3])):
        assert name[2] == pytest.approx(number[2], abs=2)
        assert name[1] < number[0]


def test_the_page_of_a_sweep_sorts_its_tables(opened):
    view = SweepView(
        name="a sweep",
        about="two systems",
        blocks=4,
        ranked=tuple(
            Ranked(name=n, rank=r, low=1.0, high=2.0) for n, r in (("a", 1.2), ("b", 1.8))
        ),
        tables=(
            Table(
                title="T", about="", header=("q", "a"), rows=(("x", "2"), ("y", "10"), ("z", "-"))
            ),
        ),
        curves=(Curve(name="a", points=((0.0, -0.1), (5.0, 0.0))),),
        failures=(("x", "0", "<b>why</b>"),),
        manifest={"python": "3"},
        command="fairautoml bench x.yaml",
    )
    browser = opened(sweep_page(view))
    button = browser.find_elements(By.CSS_SELECTOR, "table.sortable thead button")[1]

    def names():
        return [r.text for r in browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody th")]

    button.click()
    assert names() == ["x", "y", "z"]
    button.click()
    assert names() == ["y", "x", "z"]
