"""JSON is read strictly: one form for each value, no field twice, nothing that two libraries read differently."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.adapters.json_adapter import JsonAdapter
from syncd.core.errors import FrameError
from syncd.core.messages import Made, Objects, Run, Upload
from syncd.core.model import Kind
from syncd.core.settings import Limits
from tests.adapters.vectors import BY_NAME

LIMITS = Limits()
SPOKEN = JsonAdapter()
MIB = 1024 * 1024
SECONDS_MAX = 2.0  # generous: the slowest takes a twentieth of it
TEXTS = {name: vector.frames["json"] for name, vector in BY_NAME.items() if isinstance(vector.frames["json"], str)}


def refused(text: str, limits: Limits = LIMITS) -> FrameError:
    with pytest.raises(FrameError) as caught:
        SPOKEN.decode(text, limits)
    return caught.value


def row(fields: str, kind: int = 1, key: str = "[1]") -> str:
    return (
        '{"kind":"objects","collection":"c","first":0,"last":1,"runs":[[1,false,1]],'
        f'"kinds":[{kind}],"types":[1],"keys":[{key}],"fields":[{fields}],"ties":[],"cut":null}}'
    )


def edit(base: str, fields: str, kind: int = 2, key: str = "[1]") -> str:
    return (
        '{"kind":"upload","collection":"c","outbox":"o","clock_us":0,"runs":[[1,0,1,true,false]],'
        f'"kinds":[{kind}],"types":[1],"keys":[{key}],"bases":[{base}],"fields":[{fields}]}}'
    )


def value(text: str) -> Any:
    """The one value of the one object in a frame."""
    message = SPOKEN.decode(row(f"[{text}]"), LIMITS)
    assert isinstance(message, Objects)
    (only,) = unpack_values(message.fields[0])
    return only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", None),
        ("0", 0),
        ("-9007199254740991", -(2**53) + 1),
        ('{"int":"9007199254740992"}', 2**53),
        ('{"int":"-9223372036854775808"}', -(2**63)),
        ('{"real":"1.0"}', 1.0),
        ('{"real":"1"}', 1.0),
        ('{"real":"100E-2"}', 1.0),
        ('{"real":"-0.0"}', -0.0),
        ('{"real":"-inf"}', float("-inf")),
        ('{"real":"0.1000000000000000055511151231257827"}', 0.1),
        ('{"b64":""}', b""),
        ('{"b64":"AP8="}', b"\x00\xff"),
        ('"\\u0000\\ud83d\\ude00"', "\0😀"),
        ('"{\\"b64\\":\\"AA==\\"}"', '{"b64":"AA=="}'),
    ],
)
def test_a_value_is_read_exactly(text: str, expected: Any) -> None:
    assert repr(value(text)) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("true", "false", "[]", "[1]", "{}", '{"a":1}', "1.0", "1e3", "-0", "NaN", "Infinity", "-Infinity"),
        *("9007199254740992", "-9007199254740992", "9" * 30, "9" * 5000, "01", "+1", "0x1", "1_0", "'a'"),
        *('{"int":"1"}', '{"int":"9007199254740991"}', '{"int":"9223372036854775808"}', '{"int":"1e300"}'),
        *('{"int":9007199254740992}', '{"int":""}', '{"int":"0x20000000000000"}', '{"int":" 9007199254740992"}'),
        *('{"int":"09007199254740992"}', '{"int":"+9007199254740992"}', '{"int":"9007199254740992","int":"1"}'),
        *('{"real":"nan"}', '{"real":"NaN"}', '{"real":"+1"}', '{"real":""}', '{"real":".5"}', '{"real":"5."}'),
        *(
            '{"real":"1e999"}',
            '{"real":"infinity"}',
            '{"real":" 1"}',
            '{"real":"1_0"}',
            '{"real":1.5}',
            '{"real":null}',
        ),
        *('{"real":"' + "1" * 41 + '"}', '{"real":"0x1p3"}', '{"real":"1","b64":""}', '{"real":"\u0661"}'),
        *(
            '{"b64":"A"}',
            '{"b64":"AA"}',
            '{"b64":"AA="}',
            '{"b64":"AB=="}',
            '{"b64":"AA==\\n"}',
        ),
        *('{"b64":"_w=="}', '{"b64":"AA==AA=="}', '{"b64":["AA=="]}', '{"b64":"é"}', '{"B64":"AA=="}', '{"b64":"="}'),
        *('"\\ud800"', '"\\udc00\\ud800"', '"\ud800"', '"\\x41"', '"\n"', '"\x00"'),
    ],
)
def test_a_value_in_any_other_form_is_refused(text: str) -> None:
    refused(row(f"[{text}]"))
    refused(row("[1]", key=f"[{text}]"))


@pytest.mark.parametrize("fields", ["null", '"a"', "1", "{}", '{"b64":"kA=="}', "[[1]]"])
def test_fields_are_a_list_of_values(fields: str) -> None:
    refused(row(fields))
    refused(row("[]", key=fields))


@pytest.mark.parametrize(
    ("kind", "fields"), [(3, "[]"), (3, '""'), (4, "null"), (4, "[]"), (4, '"\\ud800"'), (0, "[]")]
)
def test_fields_fit_their_kind(kind: int, fields: str) -> None:
    refused(row(fields, kind=kind))


@pytest.mark.parametrize(
    ("kind", "base", "fields"),
    [(1, "[]", "[]"), (1, "null", "null"), (2, "null", "[]"), (2, "[]", "null"), (3, "null", "null"), (3, "[]", "[]")],
)
def test_base_and_fields_of_an_edit_fit_its_kind(kind: int, base: str, fields: str) -> None:
    refused(edit(base, fields, kind=kind))


@pytest.mark.parametrize("wrong", ['"a"', "1", "{}", '{"b64":""}', '{"b64":"AQ=="}', "[[1]]", "[true]", "false"])
def test_base_and_fields_of_an_edit_are_a_list_of_values_or_its_bytes(wrong: str) -> None:
    refused(edit(wrong, "[]"))
    refused(edit("[]", wrong))
    refused(edit("[]", "[]", key=wrong))
    assert SPOKEN.decode(edit('{"b64":"kQE="}', "[2]"), LIMITS) == SPOKEN.decode(edit("[1]", "[2]"), LIMITS)


@pytest.mark.parametrize("kinds", ["[true]", '"AQ=="', '{"b64":"AQ=="}', "[256]", "[-1]", "[null]", "1", '{"0":1}'])
def test_kinds_are_a_list_of_small_numbers(kinds: str) -> None:
    refused(row("[]").replace('"kinds":[1]', f'"kinds":{kinds}'))
    refused(edit("null", "[]", kind=1).replace('"kinds":[1]', f'"kinds":{kinds}'))


@pytest.mark.parametrize("digest", ['"00"', "null", '"' + "A" * 32 + '"', '"' + "0" * 33 + '"', '{"b64":""}', "[0]"])
def test_a_digest_is_32_hexadecimal_digits(digest: str) -> None:
    good = '"000102030405060708090a0b0c0d0e0f"'
    for name in ("report-identical", "objects-each-kind"):
        refused(TEXTS[name].replace(good, digest))


@pytest.mark.parametrize("name", TEXTS)
def test_each_field_must_be_there_once_and_no_other(name: str) -> None:
    text = TEXTS[name]
    tree = json.loads(text)
    for field in tree:
        refused(json.dumps({one: tree[one] for one in tree if one != field}))
        again = json.dumps(tree[field])
        assert "twice" in refused(f'{text[:-1]},"{field}":{again}}}').text
    refused(json.dumps(tree | {"extra": 1}))


def test_a_field_of_a_failed_group_may_not_be_named_twice() -> None:
    assert "twice" in refused(TEXTS["report-parked"].replace('"seq":1250', '"seq":1,"seq":1250')).text


@pytest.mark.parametrize("text", ["", " ", "null", "[]", "1", '"a"', '{"b64":"AA=="}', "{}", "\ufeff{}", '{"kind":1}'])
def test_what_is_no_message_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("half", ['"\\ud800"', '"\\udfff"'])
def test_half_a_pair_is_no_text_for_people(half: str) -> None:
    refused(TEXTS["begin-snapshot"].replace('"the device holds nothing yet"', half))
    refused(TEXTS["types"].replace('"Name"', half))
    refused(TEXTS["report-parked"].replace('"person"', half))


def test_space_between_tokens_is_free() -> None:
    vector = BY_NAME["report-parked"]
    assert SPOKEN.decode(json.dumps(json.loads(TEXTS["report-parked"]), indent=2), LIMITS) == vector.message


def test_escapes_that_need_not_be_are_free() -> None:
    vector = BY_NAME["types-unicode"]
    assert SPOKEN.decode(json.dumps(json.loads(TEXTS["types-unicode"]), ensure_ascii=True), LIMITS) == vector.message


def test_brackets_in_texts_do_not_count() -> None:
    text = '\\"' + "[{,]}" * 30_000 + "\\\\"
    assert value(f'"{text}"') == json.loads(f'"{text}"')


def test_the_handshake_is_not_text() -> None:
    hello = '{"kind":"hello","versions":[1],"role":"auxiliary","name":"a","adapter":"json"}'
    assert "handshake" in refused(hello).text


def test_what_is_not_of_the_handshake_is_not_bytes() -> None:
    with pytest.raises(FrameError, match="text was agreed"):
        SPOKEN.decode(b"\x83\xa4kind\xa6credit\xaacollection\xa1c\xaereceived_bytes\x01", LIMITS)


def test_the_limit_counts_bytes_and_not_characters() -> None:
    text = TEXTS["types-unicode"]
    size = len(text.encode())
    assert size > len(text)
    limits = Limits(message_bytes_max=size - 1)
    assert refused(text, limits).code == "too-large"


def test_an_object_that_is_too_large_as_json_is_withheld_and_cancels_its_group() -> None:
    """R7: adapting it fails, so the device learns which object it is and why, instead of losing its link."""
    small, large = pack_values(["a"]), pack_values(["\1" * (LIMITS.object_bytes_max // 5)])
    runs = (Run(1, False, 1), Run(2, False, 1))
    frame = Objects("c", 0, 2, runs, b"\1\2", [1, 1], [pack_values([1]), pack_values([2])], [small, large])
    message = SPOKEN.decode(SPOKEN.encode(frame), LIMITS)
    assert isinstance(message, Objects)
    assert message.kinds == bytes((Kind.ADD, Kind.WITHHELD))
    assert message.fields[0] == small
    assert b"too large as JSON" in message.fields[1]


def test_the_largest_blob_that_fits_as_json_is_sent() -> None:
    fields = pack_values([b"x" * (LIMITS.object_bytes_max // 4 * 3 - 100)])
    frame = Objects("c", 0, 1, (Run(1, False, 1),), b"\1", [1], [pack_values([1])], [fields])
    assert SPOKEN.decode(SPOKEN.encode(frame), LIMITS) == frame


@pytest.mark.parametrize("worst", ["\1", b"x", 0.1, None, b""], ids=repr)
def test_the_largest_edits_fit_into_a_frame_whatever_they_hold(worst: Any) -> None:
    """An edit cannot be withheld: one that no frame can hold would stop all that come after it."""
    size = LIMITS.edit_bytes_max // 2 - 20
    large = pack_values([worst * size if isinstance(worst, str | bytes) and worst else b"x" * size])
    small = [pack_values([worst] * 1_000 if not isinstance(worst, str) else [worst * 1_000])] * 150
    small = small[: LIMITS.frame_bytes // len(small[0])]
    fields = [*small, large]
    keys = [pack_values([number]) for number in range(len(fields))]
    runs = (Made(1, 0, len(fields), True, False),)
    upload = Upload(
        "c", "o", 0, runs, b"\2" * len(fields), [1] * len(fields), keys, [pack_values([])] * len(small), fields
    )
    upload.bases.append(large)
    assert SPOKEN.decode(SPOKEN.encode(upload), LIMITS) == upload


BOMBS = {
    "a million empty arrays": '{"a":[' + "[]," * MIB + "[]]}",
    "a million empty objects": '{"a":[' + "{}," * MIB + "{}]}",
    "a million tagged values": '{"a":[' + '{"b64":""},' * (MIB // 4) + "0]}",
    "nesting": "[" * MIB,
    "nesting that closes": "[" * 500_000 + "]" * 500_000,
    "nesting of objects": '{"a":' * 200_000,
    "more closed than opened": "]" * MIB,
    "a million texts": "[" + '"",' * MIB + '""]',
    "a million quotes": '"' * (3 * MIB),
    "one text of escapes": '"' + "\\n" * MIB + '"',
    "one text of backslashes": '"' + "\\" * MIB,
    "an integer of a million digits": '{"kind":' + "9" * MIB + "}",
    "a real of a million digits": '{"kind":1.' + "9" * MIB + "}",
    "space": " " * MIB,
    "commas": "," * MIB,
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_quickly_and_in_bounded_memory(what: str) -> None:
    begin = time.process_time()
    refused(BOMBS[what])
    assert time.process_time() - begin < SECONDS_MAX
    tracemalloc.start()
    try:
        refused(BOMBS[what])
        assert tracemalloc.get_traced_memory()[1] < 60 * MIB
    finally:
        tracemalloc.stop()
