"""STATUS.md tells every key, state and outcome once, in words that a reader can check."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from syncd.core.model import OutcomeKind, State
from tests.control.status_page import PAGE, documented, mistakes

HEADINGS = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)


def test_each_verb_that_tells_json_has_its_section() -> None:
    assert {heading.split(",")[0] for heading in HEADINGS} == {
        "status", "transactions", "retry", "pair", "init", "share", "accept", "users", "users add", "devices",
        "devices rename", "devices link", "revoke", "conflicts", "conflicts show", "resolve", "undo", "history",
        "preview", "holds", "holds --device", "holds --device --all", "held", "approve", "reject",
        "resend", "dismiss", "settings", "settings set", "settings import", "settings explain", "settings journal",
        "settings export", "pause", "now",
    }  # fmt: skip


@pytest.mark.parametrize("heading", HEADINGS)
def test_each_row_is_read_and_stands_once_below_its_owner(heading: str) -> None:
    keys = documented(heading)
    assert len(keys) == len(re.findall(r"^\| `", PAGE.split(f"## {heading}\n")[1].split("\n## ")[0], re.MULTILINE))
    assert [path for path, times in Counter(key.path for key in keys).items() if times > 1] == []
    owners = {"", *(key.path for key in keys if key.type == "object"), *(f"{key.path}[]" for key in keys)}
    assert [key.path for key in keys if key.owner not in owners] == []


def test_each_state_and_outcome_is_told() -> None:
    assert [one.value for one in (*State, *OutcomeKind) if f"`{one.value}`" not in PAGE] == []


def test_an_answer_of_another_shape_is_noticed() -> None:
    answer: dict[str, object] = {
        "retried": [1],
        "applied": [],
        "failed": [{"group": "a:1", "why": ""}],
        "parts": {"asked": 1, "tried": 1, "applied": 0},
    }
    assert mistakes("retry", "auxiliary", answer) == [
        "retry: retried is [1], no texts",
        "retry: failed[] has no key cause",
        "retry: failed[] has key why",
    ]
