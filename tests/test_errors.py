"""How commands end: one line for what users can correct, a traceback for bugs."""

import subprocess
import sys
import threading

import pytest
import torch

from fst.errors import UserError, is_out_of_memory, one_line_errors
from fst.models import inspection


def end_of(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """The exit status and stderr of a command that raises the error."""
    with pytest.raises(SystemExit) as ended, one_line_errors("fst", "use --size"):
        raise error
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        UserError("size=0 must be\nat least 1"),
        FileNotFoundError("size=0 must be at least 1"),
        ImportError("size=0 must be at least 1"),
    ],
)
def test_what_a_user_can_correct_is_one_line_and_status_2(error: Exception, capsys):
    assert end_of(error, capsys) == (2, "fst: size=0 must be at least 1\n")


@pytest.mark.parametrize("bug", [ValueError("inner"), KeyError("inner"), RuntimeError("inner")])
def test_a_bug_keeps_its_traceback(bug: Exception):
    with pytest.raises(type(bug), match="inner"), one_line_errors("fst", ""):
        raise bug


def test_out_of_memory_names_the_ways_out_and_exits_with_1(capsys):
    status, said = end_of(torch.OutOfMemoryError("CUDA out of memory.\nTried to ..."), capsys)
    assert status == 1
    assert said == "fst: out of memory: use --size (CUDA out of memory. Tried to ...)\n"


def test_the_cpu_allocator_of_torch_counts_as_out_of_memory():
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 60)
    assert is_out_of_memory(failed.value)


def test_a_bug_in_a_command_shows_where_it_is(fst_here, monkeypatch):
    def fail(model: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(inspection, "inspect_model", fail)
    with pytest.raises(ValueError, match="^a bug$") as raised:  # Python prints its traceback
        fst_here("inspect", "starry_night")
    assert raised.traceback[-1].name == "fail"


def test_what_fails_in_tensorboard_s_thread_is_not_printed_twice(capfd):
    def fail() -> None:
        raise OSError("disk full")

    before = threading.excepthook
    with one_line_errors("fst"):
        for module in ("tensorboard.summary.writer", "elsewhere"):
            thread = type("Writer", (threading.Thread,), {"__module__": module})(target=fail)
            thread.start()
            thread.join()
    assert threading.excepthook is before
    assert capfd.readouterr().err.count("OSError: disk full") == 1


def test_output_that_nobody_reads_on_ends_the_command_silently():
    code = "from fst.errors import one_line_errors\nwith one_line_errors('fst'): print('x' * {})"
    for characters in (1, 100_000):  # at its end, or in the middle
        process = subprocess.Popen(
            [sys.executable, "-c", code.format(characters)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout
        process.stdout.close()
        assert process.communicate()[1] == b""
        assert process.returncode == 141


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP")
@pytest.mark.parametrize(("ignored", "status"), [("DFL", 128 + 1), ("IGN", 0)])
def test_a_terminal_that_is_closed_ends_a_command_in_order_but_for_nohup(ignored: str, status: int):
    # The system sends the signal, then the shell sends it again.
    code = (
        "import os, signal, fst.errors as e\n"
        f"signal.signal(signal.SIGHUP, signal.SIG_{ignored})\n"
        "e.raise_on_termination()\n"
        "with e.one_line_errors('fst'):\n"
        "    try: os.kill(os.getpid(), signal.SIGHUP)\n"
        "    finally: os.kill(os.getpid(), signal.SIGHUP); print('clean')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "clean\n")
    assert done.stderr == ("fst: terminated\n" if status else "")
