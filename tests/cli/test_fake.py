"""The answers that the tests of the command line are written with are such as STATUS.md promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.core.model import Role
from syncd.home.config import Asked, Config
from syncd.home.paths import Home
from tests.cli.fake import (
    ACCEPTED,
    OPENED,
    OPENED_CODE,
    PAIRED,
    PAUSED,
    RAN,
    RETRIED,
    SHARED,
    STATUS,
    TRANSACTIONS,
    FakeArrange,
    Json,
)
from tests.cli.fake_ahead import HOLDS, HOLDS_DEVICE, PREVIEW, objects
from tests.cli.fake_edits import (
    CONFLICT,
    CONFLICTS,
    HISTORY,
    REFUSED,
    REFUSED_GROUP,
    RESENT,
    RESOLVED,
    UNDONE,
)
from tests.control.status_page import keys_for, mistakes, told

HOME = Home(Path("/nowhere"))
INITIATED = FakeArrange().init(HOME, Config(role=Role.PRIMARY, name="desk", user="maria", listen="192.0.2.1:8765"))


@pytest.mark.parametrize(
    ("heading", "role", "answer"),
    [
        ("status", "primary", STATUS),
        ("transactions", "primary", TRANSACTIONS),
        ("retry", "auxiliary", RETRIED),
        ("pair, on the primary", "primary", OPENED | OPENED_CODE),
        ("pair, on an auxiliary", "auxiliary", PAIRED),
        ("pause, resume", "primary", PAUSED),
        ("now", "primary", RAN),
        ("init", "primary", INITIATED),
        ("share", "primary", SHARED),
        ("accept", "auxiliary", ACCEPTED),
        ("conflicts, on the primary", "primary", CONFLICTS),
        ("conflicts, on an auxiliary", "auxiliary", REFUSED),
        ("conflicts show, on the primary", "primary", CONFLICT),
        ("conflicts show, on an auxiliary", "auxiliary", REFUSED_GROUP),
        ("resolve", "primary", RESOLVED),
        ("undo", "primary", UNDONE),
        ("history", "primary", HISTORY),
        ("resend", "auxiliary", RESENT),
        ("dismiss", "auxiliary", RESENT),
        ("preview", "primary", PREVIEW),
        ("holds", "primary", HOLDS),
        ("holds --device", "primary", HOLDS_DEVICE),
        ("holds --device --all", "primary", objects({})),
        ("accept", "auxiliary", FakeArrange().accept(HOME, Asked("notes", "sqlite", "/n.db"))),
    ],
)
def test_each_answer_has_exactly_the_documented_keys(heading: str, role: str, answer: Json) -> None:
    assert mistakes(heading, role, answer) == []
    assert told(answer) == keys_for(heading, role)
