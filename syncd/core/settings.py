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
    report_join_s: float = 0.1  # reports that tell of nothing but a position are joined for so long
    epoch_claim_s: float = 3600.0  # a device that says twice in this time that it is ahead of the store is refused
    heal_s: float = 600.0  # a checksum that fetching everything did not settle is treated anew
    retry_report_s: float = 1.0  # while parked groups are tried one after another, the primary is told so often
    stalled_s: float = 30.0  # behind and no progress while connected
    tick_s: float = 0.25
    run_s: float = 2.0  # a run of what rests else lasts at least so long: what changed before it began is read by then
    offer_again_s: float = 2.0  # in a run a device says after so long, or later, that nothing waits there
    schema_quiet_s: float = 2.0  # a table that appears is taken in when the schema did not change for so long
    source_wait_s_max: float = 1.0  # then the source is looked at although nothing woke us
    target_look_s: float = 1.0  # an idle target is looked at so often: it may be gone or another one
    count_s_first: float = 1.0  # a target that its application writes is counted again after this, then doubling
    count_s_max: float = 60.0  # and waits no longer than this until no edit of it is on its way
    count_pauses_min: int = 50  # the pause after a count is at least so many times as long as it took
    # application
    uploads_join_s: float = 0.008  # Uploads that come as others are executed wait so long, and are executed together
    written_join_s: float = 0.008  # what auxiliaries changed is published so long after what was published before
    handed_bytes_max: int = 16 * 1024 * 1024  # in memory, of what we wrote and the source did not take; more is read
    scan_rows_max: int = 5_000  # rows of one short read transaction
    scan_bytes_max: int = 4 * 1024 * 1024  # the same in bytes; a read ends early when it reaches this
    log_rows_max: int = 2_000_000  # touched keys that wait in the application; then a comparison replaces them
    wal_bytes_max: int = 64 * 1024 * 1024  # the write-ahead log we grew alone; then our connection is reopened
    problems_max: int = 100  # warnings kept per collection; the count goes on
    # guard (R13): what would delete both so many objects and such a share of a collection, or all of it, is held
    guard_objects_min: int = 10
    guard_percent_min: int = 20
    guard_s: float = 86_400.0  # deletions of so long count together; 0: only comparisons are held, no groups
    held_read_s_max: float = 30.0  # a rejection waits so long until all of its group was read
    lost_bytes_max: int = 8 * 1024 * 1024  # deleted objects that a rejection gives back in one transaction
    # selections: a longer one is refused with advice
    selections_max: int = 200  # different ones of one collection, each a class of its own; one more is refused
    selection_warnings_max: int = 20  # of references that lead out of what is chosen; more are not told
    expression_chars_max: int = 16_384
    expression_tokens_max: int = 4_000
    expression_depth_max: int = 20  # brackets, `not` and `-` within each other; SQLite's parser has a stack of 100
    expression_conditions_max: int = 200  # SQLite takes a depth of 1,000
    expression_number_chars_max: int = 40
    like_chars_max: int = 1_000  # of a pattern of like(): each may be compared with each character of a text
    key_patterns_max: int = 200
    key_pattern_chars_max: int = 1_000
    key_text_chars_max: int = 1_000  # of a key are compared with the patterns; the rest is not looked at
    # memory of the past
    tombstone_s_max: float = 90 * 86_400.0
    groups_max: int = 1_000_000  # groups remembered of a collection; objects of older ones stand alone if they fail
    part_groups_max: int = 100  # groups named of one parked part: the newest
    failed_max: int = 200  # failed groups named in one report; the count goes on
    # changes from auxiliaries
    edit_bytes_max: int = 10 * 1024 * 1024  # key, base and fields of one edit; a larger one is refused at once
    edit_group_bytes_max: int = 64 * 1024 * 1024  # of one group of edits, bases included; a larger one is refused
    upload_window_bytes_max: int = 4 * 1024 * 1024  # of Uploads sent and not yet durable at the primary; then we wait
    upload_direct_bytes_max: int = 32 * 1024  # an Upload up to this is executed as it comes, a larger one staged first
    unstaged_bytes_max: int = 512 * 1024  # of Uploads executed as they come and not settled; then they are staged, too
    verdicts_max: int = 200  # in one message; more go into the next
    verdicts_read_max: int = 5_000  # in one answer of the upload queue; more are asked for when these are on their way
    verdicts_waiting_max: int = 50_000  # came and are not kept; more closes the link, they come again
    settle_join_s: float = 0.2  # what became of groups of edits is kept so much later, with what comes meanwhile
    settle_together: int = 50  # unless it is of so many
    settle_edits_together: int = 1_000  # or, on the primary, these have so many edits
    written_max: int = 2_000  # groups of edits executed and not yet published; then no more are executed
    uploads_together_max: int = 500  # groups of edits executed in one transaction on the primary
    uploads_bytes_max: int = 1024 * 1024  # the same in bytes, unless one group alone is larger
    upload_bytes_max: int = 1024 * 1024 * 1024  # Uploads of one device that wait at the primary; then its link waits
    added_objects_max: int = 20_000  # added by a device whose selection follows references, and remembered as its own
    unread_tries_max: int = 20  # executing waits so often for changes that the application made just then
    clock_skew_s_max: float = 120.0  # clocks that differ by more do not decide which version is the newest
    conflict_s_max: float = 30 * 86_400.0  # conflicts are kept with all their versions
    conflict_bytes_max: int = 1024 * 1024 * 1024  # of one collection; then those resolved go, then the oldest
    kept_verdicts_max: int = 1_000_000  # of one outbox, not known to have come there; then the oldest are forgotten
    outboxes_max: int = 16  # of one device and collection; then the oldest of which nothing waits is forgotten
    refused_s_max: float = 30 * 86_400.0  # refused groups stay readable on the device that made them
    history_s_max: float = 30 * 86_400.0  # former versions of objects are kept, for undo
    history_bytes_max: int = 1024 * 1024 * 1024  # of one collection; then the oldest go
    history_versions_max: int = 1_000  # of one object in one answer
    # trust
    pairing_s_max: float = 300.0  # a code or token works for so long
    pairing_tries_max: int = 3  # failed exchanges; then pairing closes
    strangers_max: int = 32  # connections at a time of whoever has not shown who it is
    strangers_of_address_max: int = 8  # the same of one address
    stranger_bytes_max: int = 64 * 1024  # that one connection sends before it has shown who it is; then it is cut
    stranger_tries_max: int = 30  # connections of one address in a row that came to nothing; then it is turned away
    stranger_tries_per_s_max: float = 2.0  # and has so many more
    strangers_per_s_max: float = 20.0  # connections of all addresses where no paired device was; others are turned away
    accepts_max: int = 4  # connections taken in one turn of the loop; then everything else has its turn
    users_max: int = 1_000  # of one primary; one more is refused with advice
    devices_max: int = 10_000  # paired with one primary, the revoked included; one more is refused with advice
    settings_max: int = 10_000  # values that persons set; one more is refused with advice
    held_settings_max: int = 100  # changes of them that are held; one more is refused with advice
    settings_journal_max: int = 10_000  # changes of them that are remembered; then the oldest go
    # finding each other
    dial_next_s: float = 0.5  # an address that has not answered gets company by the next one
    alive_s_max: float = 1.0  # for the pong of a link that may be dead
    found_max: int = 64  # devices found by mDNS that are remembered; others are passed over
    found_addresses_max: int = 8  # addresses remembered of one of them
    network_poll_s: float = 10.0  # the interfaces are looked at although nothing told of a change
    network_settle_s: float = 0.3  # changes of the network that come in a row are one
    # control socket
    control_line_bytes_max: int = (
        1024 * 1024
    )  # an edited version of a row may be in it; a longer line is answered with an error and not kept
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
