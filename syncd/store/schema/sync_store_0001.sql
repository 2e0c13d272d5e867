CREATE TABLE meta (epoch TEXT NOT NULL) STRICT;

-- last: newest change number; rows after head wait to be published.
-- loose: a loose batch is among them. shape: grows when the types change.
-- scan_start: newest change before the comparison began; rows changed since then were seen by it.
-- scanned: the last comparison was completed; the next publish makes the collection imported.
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
    imported INTEGER NOT NULL DEFAULT 0
) STRICT;

-- place: the order in which the source names its types; NULL: it no longer has the type.
CREATE TABLE types (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections (id),
    name TEXT NOT NULL,
    key_names TEXT NOT NULL,
    field_names TEXT NOT NULL,
    definition TEXT NOT NULL,
    place INTEGER,
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
