CREATE TABLE meta (epoch TEXT NOT NULL) STRICT;

-- last: newest change number; rows after head wait to be published.
-- loose: a loose batch is among them. shape: grows when the types change.
-- scan_start: newest change before the comparison began; rows changed since then were seen by it.
-- scanned: the last comparison was completed; the next publish makes the collection imported.
-- held: number of the held group, 0 without one. held_last: the last given. gone: deletions above the head that count.
-- history: all versions that changes after this one replaced are remembered. history_bytes: their keys and fields.
CREATE TABLE collections (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL DEFAULT 0,
    last INTEGER NOT NULL DEFAULT 0,
    horizon INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    digest BLOB NOT NULL DEFAULT (zeroblob(16)),
    objects INTEGER NOT NULL DEFAULT 0,
    source TEXT NOT NULL DEFAULT '',
    shape INTEGER NOT NULL DEFAULT 0,
    mark INTEGER NOT NULL DEFAULT 0,
    loose INTEGER NOT NULL DEFAULT 0,
    scanning INTEGER NOT NULL DEFAULT 0,
    scanned INTEGER NOT NULL DEFAULT 0,
    scan_start INTEGER NOT NULL DEFAULT 0,
    imported INTEGER NOT NULL DEFAULT 0,
    history INTEGER NOT NULL DEFAULT 0,
    history_bytes INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    held_last INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The held group of a collection. open_: what it is being read from goes on. of_: objects when it began.
CREATE TABLE held (
    collection INTEGER PRIMARY KEY,
    objects INTEGER NOT NULL,
    gone INTEGER NOT NULL,
    of_ INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    open_ INTEGER NOT NULL,
    released INTEGER NOT NULL
) STRICT;

CREATE TABLE held_objects (
    collection INTEGER NOT NULL,
    type INTEGER NOT NULL,
    key BLOB NOT NULL,
    gone INTEGER NOT NULL,
    PRIMARY KEY (collection, type, key)
) STRICT, WITHOUT ROWID;

-- Deletions that were let through, by quarter of an hour, of the application's data that has this identity.
CREATE TABLE deletions (
    collection INTEGER NOT NULL,
    source TEXT NOT NULL,
    quarter INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    PRIMARY KEY (collection, source, quarter)
) STRICT, WITHOUT ROWID;

-- place: the order in which the source names its types; NULL: it no longer has the type.
-- since: the newest change when the names of its values became what they are; versions up to it had others.
CREATE TABLE types (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections (id),
    name TEXT NOT NULL,
    key_names TEXT NOT NULL,
    field_names TEXT NOT NULL,
    definition TEXT NOT NULL,
    foreign_keys TEXT NOT NULL,
    place INTEGER,
    since INTEGER NOT NULL DEFAULT 0,
    UNIQUE (collection, name)
) STRICT;

CREATE TABLE groups_ (
    collection INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    first INTEGER NOT NULL,
    loose INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    PRIMARY KEY (collection, seq)
) STRICT, WITHOUT ROWID;

-- at: the change that made the tie; newer is 0 until its group is published.
CREATE TABLE ties (
    collection INTEGER NOT NULL,
    at INTEGER NOT NULL,
    older INTEGER NOT NULL,
    newer INTEGER NOT NULL,
    PRIMARY KEY (collection, at)
) STRICT, WITHOUT ROWID;

-- Who changed objects, other than the application, which is author 0. In tables of objects and their versions -1 - id
-- stands where an object was put in the order anew as it was.
CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Selection classes. id: names the table of its members and is part of its epoch; never used again.
-- head: the published group that last changed anything in it. last: newest change in its order.
-- filled: while it is not ready, up to which change objects were asked. again: whether any object came into it a second
-- time, so that some have earlier stays. broken: why it cannot be applied.
CREATE TABLE classes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections (id),
    canonical TEXT NOT NULL,
    head INTEGER NOT NULL DEFAULT 0,
    last INTEGER NOT NULL DEFAULT 0,
    horizon INTEGER NOT NULL DEFAULT 0,
    digest BLOB NOT NULL DEFAULT (zeroblob(16)),
    objects INTEGER NOT NULL DEFAULT 0,
    filled INTEGER NOT NULL DEFAULT 0,
    ready INTEGER NOT NULL DEFAULT 0,
    again INTEGER NOT NULL DEFAULT 0,
    broken TEXT NOT NULL DEFAULT '',
    UNIQUE (collection, canonical)
) STRICT;

-- What classes took that are no more: devices that were away may hold it.
CREATE TABLE former_classes (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    canonical TEXT NOT NULL
) STRICT;

-- Members and tombstones that changes above the head replaced, as they were: a group that is held takes them back.
CREATE TABLE replaced_members (
    class INTEGER NOT NULL,
    change INTEGER NOT NULL,
    born INTEGER NOT NULL,
    hash BLOB,
    type INTEGER,
    key BLOB,
    stays TEXT,
    PRIMARY KEY (class, change)
) STRICT, WITHOUT ROWID;
