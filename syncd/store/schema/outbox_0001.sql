-- mark: how far the application's log was read. high: the highest number that was sealed. position: of the target.
-- plans: the last id of a plan. digest, objects: what counts the edits that stand back to what the primary sent.
-- pending, refused: groups, counted by the triggers below.
CREATE TABLE outboxes (
    id INTEGER PRIMARY KEY,
    collection TEXT NOT NULL UNIQUE,
    outbox TEXT NOT NULL,
    mark INTEGER NOT NULL DEFAULT 0,
    high INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL DEFAULT 0,
    plans INTEGER NOT NULL DEFAULT 0,
    digest BLOB NOT NULL DEFAULT x'00000000000000000000000000000000',
    objects INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE types (
    box INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    key_names TEXT NOT NULL,
    field_names TEXT NOT NULL,
    PRIMARY KEY (box, id)
) STRICT;

-- number: NULL while the group is open. stands: its edits stand in the application. hidden: it was refused, and nobody
-- needs to read it any more. seq: 0 where it was refused. The ids are in the order of the making. edits, made, gain, more:
-- sums of a group that is plain (outbox_plain.py); made NULL: it is not.
CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    box INTEGER NOT NULL,
    number INTEGER,
    time_us INTEGER NOT NULL,
    offered INTEGER NOT NULL DEFAULT 0,
    sealed INTEGER NOT NULL DEFAULT 0,
    stands INTEGER NOT NULL DEFAULT 1,
    bytes INTEGER NOT NULL DEFAULT 0,
    ruling TEXT NOT NULL DEFAULT '',
    seq INTEGER NOT NULL DEFAULT 0,
    cause TEXT NOT NULL DEFAULT '',
    guilty_type TEXT,
    guilty_key BLOB,
    conflict INTEGER NOT NULL DEFAULT 0,
    settled_us INTEGER NOT NULL DEFAULT 0,
    hidden INTEGER NOT NULL DEFAULT 0,
    edits INTEGER NOT NULL DEFAULT 0,
    made BLOB,
    gain BLOB NOT NULL DEFAULT x'00000000000000000000000000000000',
    more INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX group_number ON groups (box, number);
CREATE INDEX group_waiting ON groups (box, number) WHERE ruling = '';
CREATE INDEX group_unsealed ON groups (box, number) WHERE sealed = 0;
CREATE INDEX group_condemned ON groups (box, seq) WHERE stands = 1 AND ruling <> '';
CREATE INDEX group_refused ON groups (box, settled_us) WHERE ruling = 'refused' AND hidden = 0;
CREATE INDEX group_gone ON groups (box) WHERE stands = 0 AND (ruling IN ('accepted', 'merged') OR hidden = 1);

CREATE TRIGGER group_more AFTER INSERT ON groups BEGIN
    UPDATE outboxes SET
        pending = pending + (new.number IS NOT NULL
            AND (new.ruling = '' OR (new.stands AND new.ruling IN ('accepted', 'merged')))),
        refused = refused + (new.ruling = 'refused' AND NOT new.hidden)
    WHERE id = new.box;
END;

CREATE TRIGGER group_less AFTER DELETE ON groups BEGIN
    UPDATE outboxes SET
        pending = pending - (old.number IS NOT NULL
            AND (old.ruling = '' OR (old.stands AND old.ruling IN ('accepted', 'merged')))),
        refused = refused - (old.ruling = 'refused' AND NOT old.hidden)
    WHERE id = old.box;
END;

CREATE TRIGGER group_other AFTER UPDATE OF number, stands, ruling, hidden ON groups BEGIN
    UPDATE outboxes SET
        pending = pending + (new.number IS NOT NULL
                AND (new.ruling = '' OR (new.stands AND new.ruling IN ('accepted', 'merged'))))
            - (old.number IS NOT NULL
                AND (old.ruling = '' OR (old.stands AND old.ruling IN ('accepted', 'merged')))),
        refused = refused + (new.ruling = 'refused' AND NOT new.hidden) - (old.ruling = 'refused' AND NOT old.hidden)
    WHERE id = new.box;
END;

-- Objects that any edit is kept of. type_id: of the newest edit. While edits of it stand (in a row, oldest first: its
-- chain), base is the version below all of them, which the primary sent last; NULL: there is no object.
CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    box INTEGER NOT NULL,
    type TEXT NOT NULL,
    key BLOB NOT NULL,
    type_id INTEGER NOT NULL,
    stands INTEGER NOT NULL,
    base BLOB
) STRICT;

CREATE UNIQUE INDEX object_key ON objects (box, type, key);
CREATE INDEX object_standing ON objects (box) WHERE stands = 1;

-- base, fields: NULL where there is no object. stands: as its group. passed: the primary sent this version since then.
CREATE TABLE edits (
    id INTEGER PRIMARY KEY,
    grp INTEGER NOT NULL,
    object INTEGER NOT NULL,
    type_id INTEGER NOT NULL,
    stands INTEGER NOT NULL,
    passed INTEGER NOT NULL DEFAULT 0,
    fault TEXT NOT NULL DEFAULT '',
    base BLOB,
    fields BLOB
) STRICT;

CREATE UNIQUE INDEX edit_group ON edits (grp, object);
CREATE INDEX edit_object ON edits (object, grp);

-- The plan that was prepared and not carried out. whole: all groups in it come down whole, and nothing else does that
-- an edit stands above. digest, objects: what the sums in outboxes gain with it.
CREATE TABLE plans (
    box INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    snapshot INTEGER NOT NULL,
    whole INTEGER NOT NULL,
    digest BLOB NOT NULL,
    objects INTEGER NOT NULL
) STRICT;

-- What becomes of an object that edits stand of (kind: see outbox_plan.py). leave: it stays as it is. reached: the newest
-- group in which the version of the work was made. Without another index: there are rows of one collection at a time, or
-- few more.
CREATE TABLE plan_rows (
    object INTEGER PRIMARY KEY,
    box INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    leave INTEGER NOT NULL,
    reached INTEGER
) STRICT;

-- Groups that come down whole.
CREATE TABLE plan_whole (
    grp INTEGER PRIMARY KEY,
    box INTEGER NOT NULL
) STRICT;

-- Groups that are put back; those that were offered and are as in the snapshot (equal) leave.
CREATE TABLE plan_groups (
    grp INTEGER PRIMARY KEY,
    box INTEGER NOT NULL,
    equal INTEGER NOT NULL
) STRICT;

CREATE INDEX plan_group ON plan_groups (box);
