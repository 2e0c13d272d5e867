"""The code: how it is made, typed and mistyped, and the words it is made of."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.errors import UserError
from syncd.transport import code
from syncd.transport.code import Code
from syncd.transport.token import looks_like_token

OTTER = Code("4821", ("otter", "lantern"))
CHOICES = st.lists(st.integers(0, 2**20), min_size=3, max_size=3)


def made(choices: list[int]) -> Code:
    left = iter(choices)
    return code.make(lambda n: next(left) % n)


@given(CHOICES)
def test_a_code_is_read_as_it_was_made(choices: list[int]) -> None:
    assert code.parse(made(choices).text) == made(choices)


BETWEEN = ["", " ", "-", "_", " - ", "\u2013"]


@given(CHOICES, st.sampled_from(BETWEEN), st.sampled_from([str.upper, str.title, str.lower]))
def test_case_and_what_stands_between_do_not_matter(choices: list[int], between: str, case: object) -> None:
    known = made(choices)
    typed = between.join((known.number, *known.words))
    assert callable(case)
    assert code.parse(f" {case(typed)}\n") == known


def test_a_code_is_a_number_of_four_digits_and_two_words() -> None:
    assert code.make(lambda n: 0).text == f"1000-{code.words()[0]}-{code.words()[0]}"
    assert code.make(lambda n: n - 1).text == f"9999-{code.words()[-1]}-{code.words()[-1]}"


def test_chance_is_asked_for_each_part() -> None:
    asked: list[int] = []

    def choose(n: int) -> int:
        asked.append(n)
        return 0

    code.make(choose)
    assert asked == [9000, 1024, 1024]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("4821-oter-lantern", "'oter' is no word of any code; near it: .*otter"),
        ("4821-otter-latern", "'latern' is no word of any code; near it: .*lantern"),
        ("4821-otter-qqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "'qqqqqqqqqqqqqqqqqqqq' is no word of any code$"),
        ("4821-otterlatern", "'otterlatern' is no word"),
        ("4821-otter", "this one has 1"),
        ("4821", "this one has 0"),
        ("4821-otter-lantern-otter", "this one has 3"),
        ("otter-lantern", "four digits"),
        ("otter-4821-lantern", "four digits"),
        ("482-otter-lantern", "four digits"),
        ("48213-otter-lantern", "four digits"),
        ("4821-otter-1234-lantern", "four digits"),
        ("४८२१-otter-lantern", "four digits"),
        ("", "four digits"),
        ("-", "four digits"),
    ],
)
def test_what_is_no_code_is_refused_with_the_reason_and_what_to_do(typed: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        code.parse(typed)
    assert "4821-otter-lamp" in caught.value.advice


@given(st.text())
def test_any_text_is_a_code_or_a_usage_error(typed: str) -> None:
    try:
        read = code.parse(typed)
    except UserError:
        return
    assert code.parse(read.text) == read


def test_what_is_shown_of_a_code_by_accident_is_its_number_only() -> None:
    for shown in (repr(OTTER), str(OTTER), f"{OTTER}"):
        assert "4821" in shown
        assert "otter" not in shown


def test_the_secret_is_the_whole_code_as_it_is_written() -> None:
    assert code.parse("4821 OTTER_lantern").secret == b"4821-otter-lantern"


@pytest.mark.parametrize(
    ("typed", "is_token"),
    [
        ("4821-otter-lantern", False),
        ("syncd1-abc@127.0.0.1:1", True),
        (" SYNCD1-", True),
        ("syn cd1", True),
        ("hello", False),
        ("", False),
    ],
)
def test_a_token_is_seen_at_its_beginning(typed: str, is_token: bool) -> None:
    assert looks_like_token(typed) == is_token


# ---------------------------------------------------------------- the words


def sound(word: str) -> str:
    """Roughly what is left of a word over a bad line: its consonants, all vowels alike."""
    for heard in ("ph f", "ght t", "gh g", "kn n", "wr r", "wh w", "ck k", "tch ch", "dge j", "qu kw", "x ks"):
        written, spoken = heard.split()
        word = word.replace(written, spoken)
    word = re.sub(r"s?c(?=[eiy])", "s", word)
    word = re.sub(r"c(?!h)", "k", word).replace("z", "s")
    word = re.sub(r"g(?=[eiy])", "j", word)
    word = re.sub(r"(.)\1", r"\1", word)
    word = re.sub(r"(?<=.)e$", "", word)
    return re.sub(r"[aeiouyw]*[aeiouy][aeiouyw]*", "a", word)


def slips(word: str) -> set[str]:
    """The word, and whatever it becomes by one letter left out, or two changed places; and by one letter mistyped, with
    a star for it."""
    out = {word[:at] + word[at + 1 :] for at in range(len(word))}
    swapped = {word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)}
    changed = {f"{word[:at]}*{word[at + 1 :]}" for at in range(len(word))}
    return {word} | out | swapped | changed


def test_there_are_1024_distinct_words_in_order() -> None:
    assert len(set(code.words())) == len(code.words()) == 1024
    assert list(code.words()) == sorted(code.words())


def test_each_word_is_three_to_seven_small_letters() -> None:
    assert [word for word in code.words() if not re.fullmatch("[a-z]{3,7}", word)] == []


def test_no_word_begins_with_another() -> None:
    assert [pair for pair in itertools.pairwise(code.words()) if pair[1].startswith(pair[0])] == []


def test_no_word_becomes_another_by_one_slip() -> None:
    meant: dict[str, str] = {}
    for word in code.words():
        for slip in slips(word):
            if not slip.count("*") and len(slip) < len(word):
                continue  # seen from the longer word below
            assert meant.setdefault(slip, word) == word, (word, meant[slip])
    for word in code.words():
        shorter = {word[:at] + word[at + 1 :] for at in range(len(word))}
        assert not shorter & set(code.words()), word


def test_no_two_words_sound_alike() -> None:
    heard: dict[str, str] = {}
    for word in code.words():
        assert heard.setdefault(sound(word), word) == word, (word, heard[sound(word)])


def test_two_words_without_anything_between_are_read_one_way(seed: int) -> None:
    rand = random.Random(seed)
    for _ in range(200):
        first, second = rand.choice(code.words()), rand.choice(code.words())
        assert code.parse(f"4821{first}{second}").words == (first, second)
