"""A token as a QR picture in the terminal, for a machine with a camera."""

from __future__ import annotations

import io

import segno

_QUIET_CELLS = 2  # of margin; readers want some


def show(token: str) -> None:
    """Prints it, two cells of the picture in one character. Upper case makes it smaller, and tokens have no case."""
    picture = io.StringIO()
    segno.make(token.upper(), error="l", micro=False).terminal(picture, border=_QUIET_CELLS, compact=True)
    print(picture.getvalue())
