"""Settings that a person chooses: what they may hold, where they are set, and which value counts (claim 24f)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.edits import Direction, Policy
from syncd.core.errors import UserError
from syncd.core.pace import USUAL, Paced
from syncd.core.preferences import TABLE, Chosen, Place, Preferences, Scope, setting, split
from syncd.core.quantities import BYTES, TIME, Amount, Words
from syncd.core.schedule import CONTINUOUS, read_schedule
from syncd.core.settings import Limits

LIMITS = Limits()
AT = Place(1, "TILL", "notes")
PLACES = (Place(1), Place(device="TILL"), Place(collection="notes"), Place(0, "TILL", "notes"))


def of(*chosen: tuple[Place, str, str]) -> Preferences:
    return Preferences.of(LIMITS, [Chosen(*one) for one in chosen])


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "text", "value", "shown"),
    [
        ("direction", "out", "out", "out"),
        ("guard.objects", "12", 12, "12"),
        ("guard.percent", "30%", 30, "30 %"),
        ("guard.percent", "30", 30, "30 %"),
        ("history.age", "30d", 2_592_000, "30d"),
        ("history.age", "36 h", 129_600, "36h"),
        ("history.age", "1.5h", 5_400, "90min"),
        ("history.age", "3601S", 3_601, "3601s"),
        ("history.bytes", "2 GiB", 2 << 30, "2 GiB"),
        ("history.bytes", "1.5gib", 3 << 29, "1536 MiB"),
        ("history.bytes", "0 B", 0, "0 B"),
        ("history.bytes", "1025B", 1_025, "1025 B"),
    ],
)
def test_a_value_is_read_with_its_unit_and_shown_in_the_largest(
    name: str, text: str, value: object, shown: str
) -> None:
    one = TABLE[name]
    assert one.parse(text) == value
    assert one.kind.show(one.parse(text)) == shown
    assert one.parse(shown) == value


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("direction", "up", "use one of out, in, both"),
        ("guard.objects", "0", "from 1 to 1000000000"),
        ("guard.objects", "1.5", "from 1"),
        ("guard.objects", "many", "from 1"),
        ("guard.percent", "101 %", "from 1 % to 100 %"),
        ("history.age", "30", "in s, min, h, d"),
        ("history.age", "30 years", "from 1h to 3650d"),
        ("history.age", "59min", "from 1h"),
        ("history.age", "-1d", "from 1h"),
        ("history.age", "1d2", "from 1h"),
        ("history.bytes", "1 GB", "in B, KiB, MiB, GiB, TiB"),
        ("history.bytes", "9" * 400, "from 0 B to 16 TiB"),
        ("history.bytes", "٣ B", "from 0 B"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    with pytest.raises(UserError, match=f"^{name} cannot be ") as caught:
        TABLE[name].parse(text)
    assert allowed in caught.value.advice


def test_each_usual_value_can_be_set_and_is_said_as_it_is_written() -> None:
    for one in TABLE.values():
        assert one.parse(one.kind.show(one.usual)) == one.usual
        assert one.help
        assert one.kind.allowed
        assert one.scopes


def test_kinds_show_what_they_take() -> None:
    assert Words(("a", "b")).allowed == "one of a, b"
    assert Amount(TIME, 60, 7_200).allowed == "from 1min to 2h, in s, min, h, d"
    assert Amount(BYTES, 0, 1 << 20).allowed == "from 0 B to 1 MiB, in B, KiB, MiB, GiB, TiB"


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("pause", "yes", "use one of on, off"),
        ("priority", "9", "use one of high, usual, low"),
        ("rate", "1 MiB", "unlimited, or a value from 1 KiB/s"),
        ("schedule", "at night", "continuous, manual, every 15min, within 22:00-06:00"),
    ],
)
def test_what_cannot_be_a_pace_is_refused_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    with pytest.raises(UserError, match=f"^{name} cannot be ") as caught:
        TABLE[name].parse(text)
    assert allowed in caught.value.advice


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "collection", "name"),
    [
        ("direction", "", "direction"),
        ("guard.objects", "", "guard.objects"),
        ("notes.direction", "notes", "direction"),
        ("my.notes.conflicts.age", "my.notes", "conflicts.age"),
        ("guard.guard.objects", "guard", "guard.objects"),
        ("direction.direction", "direction", "direction"),
        ("conflicts.conflicts", "conflicts", "conflicts"),
    ],
)
def test_a_setting_is_named_with_its_collection(text: str, collection: str, name: str) -> None:
    assert split(text) == (collection, TABLE[name])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("directoin", "direction"),
        ("notes.directoin", "direction"),
        ("guard.object", "guard.objects"),
        ("my.notes.histroy.age", "history.age"),
    ],
)
def test_a_name_that_is_misspelt_is_answered_with_the_nearest(text: str, meant: str) -> None:
    with pytest.raises(UserError, match="there is no setting") as caught:
        split(text)
    assert caught.value.advice.startswith(f"did you mean {meant}?")


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(UserError, match="no setting 'xyz'") as caught:
        setting("xyz")
    assert caught.value.advice.startswith("the settings are adapter, ")


# ---------------------------------------------------------------- places


def test_a_place_is_of_one_scope() -> None:
    assert [place.scope for place in PLACES] == list(Scope)
    assert AT.above() == PLACES
    assert Place(1, "", "notes").above() == (Place(1), Place(collection="notes"))
    assert Place(1).above() == (Place(1),)


def test_a_setting_is_refused_where_it_has_no_effect() -> None:
    with pytest.raises(UserError, match="adapter cannot be set for a collection") as caught:
        TABLE["adapter"].check_scope(Scope.COLLECTION)
    assert caught.value.advice == "it is set for a device"
    TABLE["adapter"].check_scope(Scope.DEVICE)


# ---------------------------------------------------------------- what counts


def test_the_most_specific_value_counts() -> None:
    values = ("out", "in", "out", "in")
    for count in range(len(PLACES) + 1):
        chosen = of(*((place, "direction", value) for place, value in zip(PLACES[:count], values, strict=False)))
        assert chosen.direction(AT) == (values[count - 1] if count else "both")


def test_values_of_others_count_for_nothing_here() -> None:
    others = (Place(2), Place(device="DESK"), Place(collection="photos"), Place(0, "DESK", "notes"))
    assert of(*((place, "direction", "out") for place in others)).direction(AT) is Direction.BOTH


def test_the_chain_tells_each_place_that_may_decide() -> None:
    chosen = of((PLACES[0], "direction", "out"), (PLACES[2], "direction", "in"))
    assert chosen.chain("direction", AT) == (
        (None, "both"), (PLACES[0], "out"), (PLACES[1], None), (PLACES[2], "in"), (PLACES[3], None),
    )  # fmt: skip
    assert chosen.decides("direction", AT) == (PLACES[2], "in")
    assert chosen.chain("adapter", Place(1, "TILL")) == ((None, "auto"), (PLACES[1], None))


def test_what_this_version_does_not_know_is_passed_over() -> None:
    chosen = of((PLACES[2], "colour", "blue"), (PLACES[2], "direction", "sideways"), (PLACES[2], "conflicts", "merge"))
    assert (chosen.direction(AT), chosen.policy(AT)) == (Direction.BOTH, Policy.MERGE)


def test_devices_apart_are_those_where_changes_travel_another_way() -> None:
    chosen = of(
        (PLACES[2], "direction", "out"),
        (Place(0, "A", "notes"), "direction", "both"),
        (Place(0, "B", "notes"), "direction", "out"),
        (Place(0, "C", "photos"), "direction", "in"),
        (Place(0, "D"), "direction", "in"),
    )
    assert chosen.apart(Place(1, "", "notes")) == {"A": Direction.BOTH}
    assert chosen.apart(Place(1, "", "music")) == {"D": Direction.IN}


def test_the_pace_of_a_collection_and_of_devices_that_have_another() -> None:
    chosen = of(
        (Place(1), "priority", "low"),
        (PLACES[2], "schedule", "every 1h"),
        (Place(0, "A", "notes"), "pause", "on"),
        (Place(0, "B"), "schedule", "manual"),
        (Place(0, "C", "notes"), "schedule", "every 60min"),
    )
    hourly = Paced(read_schedule("every 1h"), False, 2)
    at = Place(1, "", "notes")
    assert chosen.pace(at) == hourly
    assert chosen.paces_apart(at) == {"A": replace(hourly, paused=True)}
    assert chosen.paces_apart(Place(1, "", "music")) == {"B": Paced(read_schedule("manual"), False, 2)}
    assert of().pace(at) == USUAL
    assert of().pace(at).schedule is CONTINUOUS


def test_the_rate_of_a_device_counts_more_than_that_of_its_user() -> None:
    chosen = of((Place(1), "rate", "1 MiB/s"), (Place(0, "A"), "rate", "unlimited"))
    assert [chosen.rate_bytes_s(Place(*one)) for one in ((1, "B"), (1, "A"), (2, "B"))] == [1 << 20, 0, 0]


def test_adapters_are_those_that_a_person_chose() -> None:
    chosen = of((Place(device="A"), "adapter", "json"), (Place(device="B"), "adapter", "auto"))
    assert chosen.adapters() == {"A": "json"}


def test_limits_of_a_collection_are_the_usual_but_for_what_was_set() -> None:
    chosen = of(
        (Place(1), "guard.percent", "50 %"),
        (Place(collection="notes"), "history.age", "1d"),
        (Place(collection="notes"), "guard.objects", "10"),
    )
    notes, photos = (chosen.limits_at(Place(1, "", name)) for name in ("notes", "photos"))
    assert (notes.guard_percent_min, notes.history_s_max, notes.guard_objects_min) == (50, 86_400, 10)
    assert (photos.guard_percent_min, photos.history_s_max) == (50, LIMITS.history_s_max)
    assert chosen.limits_at(Place(2, "", "music")) is LIMITS


def test_limits_of_the_daemon_are_the_usual_values() -> None:
    chosen = Preferences(Limits(guard_objects_min=3))
    assert chosen.value("guard.objects", AT) == 3
    assert chosen.limits_at(AT) is chosen.limits
