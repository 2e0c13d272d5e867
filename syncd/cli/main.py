"""Runs one verb and turns what comes of it into an exit code and, if it failed, one line on stderr.

Exit codes (DESIGN §6): 0 done, 1 refused or failed, 2 usage, 3 daemon not running. With SYNCD_DEBUG set, a
traceback comes before it.
"""

from __future__ import annotations

import io
import os
import sys

from syncd.cli.arguments import UsageError, parse
from syncd.cli.fields import clean
from syncd.cli.local import Local
from syncd.cli.verbs import VERBS, Call
from syncd.control.protocol import DaemonNotRunning
from syncd.core.errors import SyncdError
from syncd.home.paths import Home, find_home

DONE, FAILED, USAGE, NOT_RUNNING = 0, 1, 2, 3
_LINE_MAX = 2_000


def run_verb(argv: list[str], local: Local) -> int:
    """Runs the verb of the command line; never raises."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    try:
        code = _run_verb(argv, local)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SyncdError as error:
        return _fail(error)
    except KeyboardInterrupt as error:
        return _fail(error, "interrupted: run it again")
    except SystemExit as error:  # argparse after --help and --version
        return error.code if isinstance(error.code, int) else DONE
    except Exception as error:
        reason = f"internal error, {type(error).__name__}: {error}"
        return _fail(error, f"{reason}: run it again with SYNCD_DEBUG=1 and report what it prints")


def _run_verb(argv: list[str], local: Local) -> int:
    given = parse(argv)
    home = Home(find_home(given.home, os.environ))
    return VERBS[given.verb](Call(given, home, local))


def _fail(error: BaseException, line: str = "") -> int:
    """One line that says what happened and what to do, and the exit code."""
    if os.environ.get("SYNCD_DEBUG"):
        import traceback

        traceback.print_exception(error)
    said = error.line() if isinstance(error, SyncdError) else line
    print(f"syncd: {clean(said, _LINE_MAX)}", file=sys.stderr)
    match error:
        case DaemonNotRunning():
            return NOT_RUNNING
        case UsageError():
            return USAGE
        case _:
            return FAILED
