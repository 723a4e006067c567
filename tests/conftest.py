"""Real tables: where they are, and what it means that they are not there."""

import gc
import itertools
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A fit limits itself to one thread. So do tests of its parts: beside other workers, two threads
# that share a small product mostly wait for each other. Read when the libraries are loaded.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# Tests start many interpreters: each module is compiled once, not by every one of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

HOME = "FAIRAUTOML_DATA_HOME"
REQUIRED = "FAIRAUTOML_REQUIRE_DATA"

# Whether a property holds is no question of how fast the machine is.
settings.register_profile(
    "any_machine",
    parent=settings(),
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any_machine")

# Collecting thousands of tests makes no garbage worth searching for; see pytest_collection_finish.
gc.disable()


@pytest.fixture(scope="session")
def data_home():
    """Folder of the real tables; the test is skipped where there is none."""
    home = os.environ.get(HOME, "")
    if not home:
        pytest.skip(f"{HOME} is not set: name a folder with the real tables and their index.json")
    return Path(home)


@pytest.fixture(scope="session", autouse=True)
def _no_power_cut():
    """Tests kill processes, never the machine: no file is waited for until it is on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr("fairautoml.storage.journal.SYNCHRONOUS", "OFF")
        yield


@pytest.fixture(scope="session")
def _state_homes(tmp_path_factory):
    """Paths that nothing is at yet: thousands of numbered folders would take their time."""
    home = tmp_path_factory.mktemp("states")
    return (str(home / str(number)) for number in itertools.count())


@pytest.fixture(scope="module", autouse=True)
def _no_ledger_of_the_user(_state_homes):
    """Fits of fixtures note their openings in their module's ledger, never in the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIRAUTOML_STATE_HOME", next(_state_homes))
        yield


@pytest.fixture(autouse=True)
def _own_ledger(_state_homes, monkeypatch):
    """What one test has opened is not spent for the next."""
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", next(_state_homes))


def pytest_collection_modifyitems(items):
    """Begin with the tests that say that they take long, so that no worker ends with one alone."""
    items.sort(key=lambda item: -max((m.args[0] for m in item.iter_markers("timeout")), default=0))


def pytest_collection_finish():
    """Spare each full garbage collection the walk through thousands of collected tests."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get(REQUIRED) == "1" and HOME in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"{REQUIRED}=1, and yet skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, which records what its console says."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium with its driver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield started
    started.quit()
