"""``scripts/bench`` measures real daemons and says so in the JSON that it promises."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchlib import __main__, work
from scripts.benchlib.figures import Figure, Measure
from tests.e2e.compare import differences
from tests.e2e.script import script


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return script("scripts.benchlib", *arguments)


@pytest.mark.e2e
def test_a_figure_is_printed_and_written_as_json_with_what_each_daemon_needed(tmp_path: Path) -> None:
    done = bench("bootstrap", "--quick", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bootstrap" in done.stdout
    told = json.loads((tmp_path / "figures.json").read_text())
    assert told["quick"] is True
    assert told["failed"] == {}
    (figure,) = told["figures"]
    (measure,) = figure["measures"]
    assert (figure["figure"], measure["unit"], measure["floor"], measure["aim"]) == ("bootstrap", "s", 2.5, 1.0)
    assert measure["value"] > 0
    assert measure["reached"] is None, "a tenth of the work says nothing about the budget"
    assert [daemon["name"] for daemon in figure["daemons"]] == ["primary", "auxiliary-1"]
    assert all(daemon["peak_rss_mib"] > 1 and daemon["cpu_s"] > 0 for daemon in figure["daemons"])


@pytest.mark.e2e
def test_a_figure_that_does_not_exist_is_a_mistake_of_the_command_line() -> None:
    done = bench("nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr


@pytest.mark.parametrize(("options", "seconds", "code"), [([], 2.6, 1), ([], 2.5, 0), (["--quick"], 2.6, 0)])
def test_a_figure_that_misses_what_it_must_reach_is_named_and_the_bench_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], seconds: float, code: int
) -> None:
    measures = [Measure("whole import", seconds, "s", 2.5, 1.0), Measure("rows", 1e9, "/s")]
    monkeypatch.setitem(__main__.FIGURES, "import", lambda setting: Figure("import", "the work", measures))
    monkeypatch.setattr(sys, "argv", ["scripts/bench", "import", *options])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert __main__.main() == code
    misses = [line for line in capsys.readouterr().out.splitlines() if line.startswith("MISSED")]
    assert misses == ["MISSED  import, whole import: 2.60 s, must be ≤ 2.5 s"] * code


def test_the_objects_have_the_size_that_the_figures_speak_of(tmp_path: Path) -> None:
    for number, version in ((0, 0), (7, 1), (999_999, 12)):
        assert len(work.key(number).encode()) == 16
        assert len(work.body(number, version).encode()) == 256
        assert json.loads(work.body(number, version))["number"] == number
    assert work.body(7, 0) != work.body(7, 1)


def test_a_single_row_that_differs_is_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    work.create(one, 100)
    work.create(other, 100)
    assert differences(one, other) == []
    work.modify(other, 100, 1, 1)
    assert len(differences(one, other)) == 1
