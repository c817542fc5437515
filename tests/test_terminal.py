"""What commands print: any name, to any terminal, file or missing stream."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_layout import MODULES

from fst.batch.console import StylizeConsole
from fst.batch.files import Job, Outcome
from fst.cli.work_console import WorkConsole
from fst.errors import UserError, one_line_errors
from fst.terminal import Bar, note, say, visible

EVIL = "\x1b]0;owned\x07\x9b2J\r\n\u202egnp.exe"
SHOWN = r"\x1b]0;owned\x07\x9b2J\x0d\x0a\u202egnp.exe"


def outcomes(name: str) -> list[Outcome]:
    job = Job(Path(name), "model", Path("out") / name)
    return [Outcome(job, notes=(f"{name} has notes",)), Outcome(job, f"cannot read {name}")]


def test_only_one_module_prints():
    found = []
    for module, file in MODULES.items():
        if module == "fst.terminal":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Name(id="print") | ast.ImportFrom(module="tqdm"):
                    found.append(f"{module}:{node.lineno}")
                case ast.Attribute(ast.Name(id="sys"), "stdout" | "stderr"):
                    found.append(f"{module}:{node.lineno}")
    assert not found, "use fst.terminal"


@pytest.mark.parametrize(
    "name",
    ["naïve 写真.png", "\U0001f469\u200d\U0001f3a8 at 3.04\u202fPM.png", "سرباز.jpg", "a\\b"],
)
def test_names_of_all_languages_are_shown_as_they_are(name: str):
    assert visible(name) == name


def test_text_of_strangers_cannot_steer_the_terminal(capsys):
    assert visible(EVIL) == SHOWN
    StylizeConsole(2).run(outcomes(EVIL), existing=0, skipped=[Path(EVIL)])
    with pytest.raises(SystemExit), one_line_errors("fst"):
        raise UserError(f"no model {EVIL}")
    printed, said = capsys.readouterr()
    assert printed.splitlines() == [
        f"{SHOWN} -> out/{SHOWN} ({SHOWN} has notes)",
        "1 done, 1 failed (see above), skipped 1 file that is neither a picture nor a video "
        f"({SHOWN})",
    ]
    assert said.splitlines()[0] == f"fst: cannot read {SHOWN}"
    assert said.splitlines()[1].startswith(r"fst: no model \x1b]0;owned\x07")
    assert "\x1b" not in str(Bar(desc=EVIL, hidden=True))


@pytest.mark.parametrize(
    ("encoding", "name", "printed"),
    [
        ("utf-8", "caf\udce9.png", rb"caf\xe9.png"),  # a name in Latin-1
        ("cp1252", "żółw é.png", rb"\u017c\xf3\u0142w " + b"\xe9.png"),
        ("ascii", "写真.png", rb"\u5199\u771f.png"),
    ],
)
def test_what_the_encoding_lacks_is_escaped(monkeypatch, encoding: str, name: str, printed: bytes):
    written = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for stream, content in written.items():
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(content, encoding, errors="strict"))
    StylizeConsole(2).run(outcomes(name), existing=0, skipped=[])
    if encoding == "cp1252":
        printed = printed.replace(rb"\xf3", b"\xf3")
    assert written["stdout"].getvalue().startswith(printed + b" -> out/" + printed)
    assert written["stderr"].getvalue() == b"fst: cannot read " + printed + b"\n"


def test_without_streams_everything_else_works(monkeypatch, fst_here, photos, tmp_path: Path):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    say("nothing")
    note("nothing")
    assert StylizeConsole(2).run(outcomes("a.png"), existing=0, skipped=[]) == 1
    console = StylizeConsole(1)
    console.frames(1, None)
    console.close()
    work = WorkConsole()
    work.show("half", 1, 2)
    work.close()
    # As the command of a program without a console; these streams are those of pythonw.
    assert fst_here("stylize", "starry_night", photos / "00.png", "-o", "x.png").returncode == 0
    assert (tmp_path / "x.png").stat().st_size > 0
    sys.stdout.close()
    sys.stderr.close()


def test_hidden_bars_stay_hidden_when_lines_are_printed(capsys):
    work = WorkConsole()
    work.show("half", 1, 2)
    note("a line")
    say("another")
    assert "50%" in str(work.bar)
    work.close()
    assert capsys.readouterr() == ("another\n", "a line\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the descriptors")
def test_closed_descriptors_are_not_given_to_files():
    code = "import os, fst.terminal as t; t.open_streams(); print(9); os._exit(os.open('.', 0))"
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(closed, check=False).returncode > 2


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_terminal_that_was_closed_is_no_error():
    import pty

    controller, terminal = pty.openpty()
    code = "import fst.terminal as t; input(); [t.say('a') or t.note('b') for _ in range(3)]"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        os.close(controller)
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
