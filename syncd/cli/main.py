"""Runs one verb and turns what comes of it into an exit code and, if it failed, one line on stderr.

A mistake in an expression is marked in two lines after it. Exit codes (DESIGN §6): 0 done, 1 refused or failed,
2 usage, 3 daemon not running. With SYNCD_DEBUG set, a traceback comes before it.
"""

from __future__ import annotations

import errno
import io
import os
import sys

from syncd.cli.arguments import UsageError, parse
from syncd.cli.call import Call
from syncd.cli.fields import clean
from syncd.cli.local import Local
from syncd.cli.verbs import VERBS
from syncd.control.protocol import DaemonNotRunning
from syncd.core.errors import ExpressionError, SyncdError, UserError
from syncd.home.paths import Home, find_home

DONE, FAILED, USAGE, NOT_RUNNING = 0, 1, 2, 3
_LINE_MAX = 2_000
_MARK_LINES = 2
_NO_OUTPUT = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF))  # of a file without a name


def run_verb(argv: list[str], local: Local) -> int:
    """Runs the verb of the command line; never raises."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    try:
        code = _run_verb(argv, local)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        _let_go()
        return DONE
    except SyncdError as error:
        return _fail(error)
    except OSError as error:
        if error.errno not in _NO_OUTPUT or error.filename is not None:
            return _fail(error, _internal(error))
        _let_go()
        return _fail(error, f"cannot write the answer: {error.strerror}: make room, or send it elsewhere")
    except KeyboardInterrupt as error:
        return _fail(error, "interrupted: run it again")
    except SystemExit as error:  # argparse after --help and --version
        return error.code if isinstance(error.code, int) else DONE
    except Exception as error:
        return _fail(error, _internal(error))


def _run_verb(argv: list[str], local: Local) -> int:
    given = parse(argv)
    if sys.stdout is None and given.verb != "run":
        raise UserError("the standard output is closed", "open it, or send it to a file")
    home = Home(find_home(given.home, os.environ))
    return VERBS[given.verb](Call(given, home, local))


def _let_go() -> None:
    """Python writes once more when it ends; that must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal(error: Exception) -> str:
    reason = f"internal error, {type(error).__name__}: {error}"
    return f"{reason}: run it again with SYNCD_DEBUG=1 and report what it prints"


def _fail(error: BaseException, line: str = "") -> int:
    """One line that says what happened and what to do, the marked expression where one is at fault, and the exit
    code."""
    if os.environ.get("SYNCD_DEBUG"):
        import traceback

        traceback.print_exception(error)
    said = error.line() if isinstance(error, SyncdError) else line
    is_marked = isinstance(error, SyncdError) and error.code == ExpressionError.code
    lines = said.split("\n", _MARK_LINES) if is_marked else [said]
    print("syncd: " + "\n".join(clean(one, _LINE_MAX) for one in lines), file=sys.stderr)
    match error:
        case DaemonNotRunning():
            return NOT_RUNNING
        case UsageError():
            return USAGE
        case _:
            return FAILED
