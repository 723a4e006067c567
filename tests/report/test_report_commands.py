"""The commands around pages: sweeps of every kind, a page on demand, a port that is taken."""

import json
import socket
from pathlib import Path

import pytest

from fairautoml.bench.page import sweep_page, sweep_view
from fairautoml.cli import inspect as command
from fairautoml.cli.main import main
from fairautoml.exceptions import ParameterError, RunFolderError

RUNNER = Path(__file__).parents[2] / "experiments" / "allocators" / "run.py"


@pytest.fixture
def without_fits(tmp_path):
    (tmp_path / "cells.csv").write_text("ratio,allocator,final\n1,full,0.1\n1,simple,0.2\n")
    (tmp_path / "manifest.json").write_text(json.dumps({"sweep": "worlds", "packages": {}}))
    return tmp_path


def test_a_sweep_without_fits_shows_its_own_summary(without_fits):
    (without_fits / "summary.csv").write_text(
        "ratio,allocator,final.mean\n0.1,<b>full</b>,0.123456\n0.1,simple,\n"
    )
    page = sweep_page(sweep_view(without_fits))
    assert '<th scope="row">&lt;b&gt;full&lt;/b&gt;</th><td class="n">0.1</td>' in page
    assert '<td class="n">0.1235</td>' in page
    assert '<td class="n">-</td>' in page
    assert "What failed" not in page


def test_a_sweep_with_neither_fits_nor_summary_is_refused(without_fits):
    with pytest.raises(RunFolderError, match=r"neither summary\.csv nor .* --resume finish it"):
        sweep_page(sweep_view(without_fits))


def test_bench_writes_the_page_when_asked(tmp_path, capsys):
    sweep = tmp_path / "worlds.yaml"
    sweep.write_text(
        f"runner: {RUNNER}\n"
        "simulation:\n"
        "  budget: 60\n"
        "  seeds: 1\n"
        "  guesses: [{ratio: 1, prior: 1}]\n"
        "  contenders: [{name: NoMit, allocator: mitigate_never}]\n"
    )
    assert main(["bench", str(sweep), "--out", str(tmp_path / "out"), "--report"]) == 0
    assert "<h2>Summary</h2>" in (tmp_path / "out" / "report.html").read_text()
    assert "report.html" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named():
    with socket.create_server((command.HOST, 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(ParameterError, match=rf"--port {port}: cannot listen .* choose"):
            command._server(port, None, None)


def test_a_port_beyond_all_ports_is_named():
    with pytest.raises(ParameterError, match=r"--port 99999: cannot listen .* 1 to 65535"):
        command._server(99_999, None, None)
