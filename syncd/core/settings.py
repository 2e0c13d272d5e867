"""Settings: limits with their units, and checks (settings module, claim 24f).

A limit's name ends in its unit. What happens at a limit stands beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of a daemon. Tests make their own; there is no other source of such a number."""

    # frames
    frame_bytes: int = 192 * 1024  # a frame of Objects is closed when it reaches this
    object_bytes_max: int = 12 * 1024 * 1024  # a larger object is withheld (R7), named in status
    message_bytes_max: int = 16 * 1024 * 1024  # a larger websocket message closes the link
    chunk_rows_max: int = 4_000  # rows of one frame
    ties_max: int = 5_000  # ties of one frame; a read ends early rather than return more
    text_chars_max: int = 4_096  # a text for people on the wire is cut to this
    array_items_max: int = 20_000  # items of one array on the wire; more closes the link
    # flow
    window_bytes_max: int = 4 * 1024 * 1024  # sent and not yet credited; then the sender waits
    unsettled_bytes_max: int = 64 * 1024 * 1024  # came for one collection and is not settled; more closes the link
    credit_bytes: int = 256 * 1024  # a receiver tells what is durable each time it reaches this
    direct_bytes_max: int = 256 * 1024  # groups up to this are executed as they come, larger ones are staged first
    cache_bytes_max: int = 8 * 1024 * 1024  # encoded frames kept for devices that follow closely
    waiting_cuts_max: int = 256  # complete cuts not yet executed; then no credit is given
    events_max: int = 10_000  # events waiting for the driver; then their source waits
    follows_max: int = 1_000  # collections that one device asks for; one more closes its link
    outlet_frames_max: int = 4_096  # frames waiting for one link; a peer that lets it fill is dropped
    outlet_bytes_max: int = 32 * 1024 * 1024  # the same for messages that no credit window bounds
    inbound_effects_max: int = 1_000  # waiting for the inbound queue's commits; then the link is not read
    types_max: int = 10_000  # types of one collection; more closes the link
    stage_frames_max: int = 32  # frames that share one commit of the inbound queue
    # waits
    send_s_max: float = 20.0  # a send that takes longer aborts the link
    open_s_max: float = 5.0  # TCP, TLS and websocket handshake
    hello_s_max: float = 5.0  # handshake of the conversation
    retry_s_first: float = 0.2  # pause after the second failed dial; the first retry is at once
    retry_s_max: float = 30.0
    offline_retry_s_first: float = 0.5  # an application that is offline is tried again
    offline_retry_s_max: float = 15.0
    busy_s_max: float = 5.0  # waiting for another program's lock on the application's data
    park_retry_s_first: float = 5.0  # parked groups are tried again with doubling pauses
    park_retry_s_max: float = 3600.0
    report_s: float = 10.0  # a target that executes for longer says so as often
    epoch_claim_s: float = 3600.0  # a device that says twice in this time that it is ahead of the store is refused
    heal_s: float = 600.0  # a checksum that fetching everything did not settle is treated anew
    retry_report_s: float = 1.0  # while parked groups are tried one after another, the primary is told so often
    stalled_s: float = 30.0  # behind and no progress while connected
    tick_s: float = 0.25
    source_wait_s_max: float = 1.0  # then the source is looked at although nothing woke us
    target_look_s: float = 1.0  # an idle target is looked at so often: it may be gone or another one
    count_s_first: float = 1.0  # a target that its application writes is counted again after this, then doubling
    count_s_max: float = 60.0
    count_pauses_min: int = 50  # the pause after a count is at least so many times as long as it took
    # application
    scan_rows_max: int = 5_000  # rows of one short read transaction
    scan_bytes_max: int = 8 * 1024 * 1024  # the same in bytes; a read ends early when it reaches this
    log_rows_max: int = 2_000_000  # touched keys that wait in the application; then a comparison replaces them
    wal_bytes_max: int = 64 * 1024 * 1024  # the write-ahead log we grew alone; then our connection is reopened
    problems_max: int = 100  # warnings kept per collection; the count goes on
    # memory of the past
    tombstone_s_max: float = 90 * 86_400.0
    groups_max: int = 1_000_000  # groups remembered of a collection; objects of older ones stand alone if they fail
    part_groups_max: int = 100  # groups named of one parked part: the newest
    failed_max: int = 200  # failed groups named in one report; the count goes on
    # trust
    pairing_s_max: float = 600.0
    pairing_tries_max: int = 3
    strangers_max: int = 8  # unauthenticated connections at a time
    # control socket
    control_line_bytes_max: int = 64 * 1024  # a longer line is answered with an error and not kept
    control_links_max: int = 32  # connections at a time; one more is told so and closed
    control_idle_s_max: float = 300.0  # a connection that sends no line is closed
    control_verb_s_max: float = 600.0  # a verb that takes longer (backup of a large file) is answered with an error


def check_name(what: str, name: str) -> str:
    """Returns ``name`` if it can name a collection, a user or a device; raises ValueError saying what is allowed."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit")
    return name


def back_off(attempt: int, first_s: float, max_s: float) -> float:
    """Seconds before try number ``attempt`` (0 = first retry): doubling, bounded. Jitter is the caller's."""
    return float(min(max_s, first_s * 2 ** min(attempt, 30)))
