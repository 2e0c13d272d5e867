-- filled: a cut was executed once; from then on the target is there, or offline, but never empty (R13).
CREATE TABLE transfers (
    collection TEXT PRIMARY KEY,
    epoch TEXT NOT NULL,
    snapshot INTEGER NOT NULL,
    base INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    cut INTEGER NOT NULL,
    filled INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE types (
    collection TEXT NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    key_names TEXT NOT NULL,
    field_names TEXT NOT NULL,
    definition TEXT NOT NULL,
    foreign_keys TEXT NOT NULL,
    PRIMARY KEY (collection, id)
) STRICT;

-- One frame a row, as it came. cut, digest, objects: of the cut in it.
CREATE TABLE staged (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    last INTEGER NOT NULL,
    cut INTEGER,
    digest BLOB,
    objects INTEGER,
    frame BLOB NOT NULL
) STRICT;

-- last: the greatest of seqs. retry_at_us: monotonic time of the daemon that wrote it, 0 for at once; all are made due
-- when a target is opened.
CREATE TABLE parked (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    seqs TEXT NOT NULL,
    last INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    guilty_type TEXT,
    guilty_key BLOB,
    attempts INTEGER NOT NULL,
    retry_at_us INTEGER NOT NULL
) STRICT;

CREATE INDEX parked_of ON parked (collection);
CREATE INDEX parked_due ON parked (collection, retry_at_us);

-- How many parts are parked: they may be very many, and are counted at each try.
CREATE TABLE parked_count (
    collection TEXT PRIMARY KEY,
    parts INTEGER NOT NULL
) STRICT;

CREATE TRIGGER parked_more AFTER INSERT ON parked BEGIN
    INSERT INTO parked_count VALUES (new.collection, 1) ON CONFLICT DO UPDATE SET parts = parts + 1;
END;

CREATE TRIGGER parked_less AFTER DELETE ON parked BEGIN
    UPDATE parked_count SET parts = parts - 1 WHERE collection = old.collection;
END;

CREATE TABLE parked_objects (
    id INTEGER PRIMARY KEY,
    part INTEGER NOT NULL,
    collection TEXT NOT NULL,
    type TEXT NOT NULL,
    key BLOB NOT NULL,
    type_id INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    fields BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX parked_object ON parked_objects (collection, type, key);
CREATE INDEX parked_part ON parked_objects (part);
