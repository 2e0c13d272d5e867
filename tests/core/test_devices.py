"""What all linked devices have passed, so that it may be forgotten (R5)."""

from __future__ import annotations

from dataclasses import replace

from syncd.core.devices import passed_by_all
from syncd.core.messages import Report

EPOCH = "epoch-1"


def at(position: int) -> Report:
    return Report("notes", EPOCH, position, bytes(16), 0, True, 0, "")


def test_what_the_slowest_device_has_passed_was_passed_by_all() -> None:
    assert passed_by_all(["laptop", "till"], {"laptop": at(9), "till": at(4)}, EPOCH) == 4


def test_a_device_that_never_reported_holds_everything_back() -> None:
    assert passed_by_all(["laptop", "till"], {"laptop": at(9)}, EPOCH) == 0


def test_a_position_of_another_epoch_counts_as_none() -> None:
    assert passed_by_all(["laptop", "till"], {"laptop": at(9), "till": replace(at(8), epoch="older")}, EPOCH) == 0


def test_a_device_that_is_not_linked_does_not_count() -> None:
    assert passed_by_all(["laptop"], {"laptop": at(9), "stranger": at(1)}, EPOCH) == 9


def test_without_a_device_nothing_was_passed() -> None:
    assert passed_by_all([], {"stranger": at(1)}, EPOCH) == 0
