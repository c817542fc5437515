"""The benchmark's arithmetic and report; no timing is tested."""

import json
import sys
from pathlib import Path

import pytest

from fst.cli.app import app
from fst.config import FastConfig
from fst.measuring.benchmark import ENGINES, REFERENCE, benchmark, markdown, write_report
from fst.networks.cost import count_flops
from fst.networks.fast import Fast


def test_rows_are_measured_against_the_reference_and_the_machine(tmp_path: Path):
    found = benchmark(["fast"], ["256"], ["fst-fp32"], "cpu", rounds=2)
    reference, ours = found.rows
    machine = found.machine
    assert (reference.engine, ours.engine) == (REFERENCE, "fst-fp32")
    assert reference.times_reference == 1
    assert reference.psnr_db is None
    assert ours.times_reference == pytest.approx(reference.milliseconds / ours.milliseconds)
    assert ours.psnr_db is not None
    assert ours.psnr_db > 90  # the same picture, but for rounding
    done = count_flops(Fast(FastConfig()), 256, 256) / ours.milliseconds / 1e6
    assert ours.matmul_share == pytest.approx(done / max(machine.matmul_gflops.values()))
    assert ours.end_to_end_milliseconds > 0
    page, values = write_report(tmp_path, found, "fst benchmark --rounds 2")
    assert page.read_text() == markdown(found, "fst benchmark --rounds 2")
    assert page.read_text().count("| fast | 256 |") == 2
    assert json.loads(values.read_text())["rows"][1]["engine"] == "fst-fp32"


def test_engines_that_are_not_installed_are_named_and_the_rest_measured(
    tmp_path, monkeypatch, known_machine
):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    reported: list[str] = []
    engines = ["onnxruntime", "fst-fp32"]
    found = benchmark(["fast"], ["256"], engines, "cpu", 1, progress=reported.append)
    assert [row.engine for row in found.rows] == [REFERENCE, "fst-fp32"]
    assert list(found.unavailable) == ["onnxruntime"]
    assert "pip install" in found.unavailable["onnxruntime"]
    (line,) = (line for line in reported if "not available" in line)
    assert line.startswith("onnxruntime is not available: ")
    page, values = write_report(tmp_path, found, "fst benchmark")
    assert f"Not measured: onnxruntime ({found.unavailable['onnxruntime']})." in page.read_text()
    assert json.loads(values.read_text())["unavailable"] == found.unavailable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "13"], "unknown size '13'; choose from 256, 512"),
        (["--engines", "warp"], f"unknown engine 'warp'; choose from {REFERENCE}, fst"),
        (["--networks", "vast"], "no model vast"),
        (["--rounds", "0"], "rounds=0 must be at least 1"),
    ],
)
def test_invalid_arguments_are_reported_first(arguments: list[str], message: str):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        app(
            ["benchmark", "--device", "cpu", *arguments],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )


def test_the_help_names_every_engine():
    benchmark_help = " ".join((app["benchmark"].default_command.__doc__ or "").split())
    assert all(engine in benchmark_help for engine in ENGINES if engine != REFERENCE)
