"""Settings as TOML: what is written is read again, and what is no such file is refused."""

from __future__ import annotations

import pytest

from syncd.core.errors import UserError
from syncd.core.settings_file import Entry, read_entries, written

ENTRIES = [
    Entry("ada", "", "", {"direction": "out"}),
    Entry("", "ABCD", "", {"adapter": "json"}, 'the "till"'),
    Entry("", "ABCD", "notes", {"conflicts": "merge", "conflicts.age": "30d", "guard.objects": "5"}, "till"),
]


def test_what_is_written_is_read_again() -> None:
    text = written(ENTRIES)
    assert read_entries(text) == [entry._replace(known_as="") for entry in ENTRIES]
    assert "# till" in text
    assert read_entries(written([])) == []


def test_names_with_dots_and_whole_numbers_need_no_quotes() -> None:
    text = '[[settings]]\ncollection = "notes"\nguard.objects = 12\nhistory.age = "3d"\n'
    assert read_entries(text) == [Entry("", "", "notes", {"guard.objects": "12", "history.age": "3d"})]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[settings]", "not TOML"),
        ("a = 1", "something else"),
        ("settings = 3", "something else"),
        ("settings = [3]", "something else"),
        ("[[settings]]\ndirection = 'out'", "names no place"),
        ("[[settings]]\nuser = 3", "user is no text"),
        ("[[settings]]\nuser = 'ada'\nguard.objects = 1.5", "guard.objects is neither a text nor a whole number"),
        ("[[settings]]\nuser = 'ada'\ndirection = true", "direction is neither"),
        ("[[settings]]\nuser = 'ada'\ndirection = ''", "direction is neither"),
        ("[[settings]]\nuser = 'ada'\ndirection = ['out']", "direction is neither"),
        ("a = " + "[" * 5_000, "not TOML"),
    ],
)
def test_what_is_no_such_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_entries(text)
