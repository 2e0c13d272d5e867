-- One outbox of a device. whole: number of its last whole group. verdicts: how many are kept.
CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    collection TEXT NOT NULL,
    outbox TEXT NOT NULL,
    whole INTEGER NOT NULL DEFAULT 0,
    verdicts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (device, collection, outbox)
) STRICT;

-- One frame a row, as it came.
CREATE TABLE frames (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;

CREATE INDEX frames_of ON frames (stream);

-- Whole groups that are not settled. id: their order of arrival. first, last: the frames that hold their rows.
CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    collection TEXT NOT NULL,
    number INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    offered INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

CREATE INDEX groups_waiting ON groups (collection);
CREATE UNIQUE INDEX groups_of ON groups (stream, number);

-- The group of a stream that is not there to its end. type, key: its first object.
CREATE TABLE halves (
    stream INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    first INTEGER NOT NULL,
    type INTEGER,
    key BLOB,
    time_us INTEGER NOT NULL,
    offered INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

-- Narrow rows, which come and go in the order of their numbers.
CREATE TABLE verdicts (
    stream INTEGER NOT NULL,
    number INTEGER NOT NULL,
    ruling TEXT NOT NULL,
    seq INTEGER NOT NULL,
    cause TEXT NOT NULL,
    type TEXT NOT NULL,
    key BLOB NOT NULL,
    conflict INTEGER NOT NULL,
    PRIMARY KEY (stream, number)
) STRICT, WITHOUT ROWID;

-- kept_us: since when it is kept. bytes: of its sides.
CREATE TABLE conflicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    device TEXT NOT NULL,
    outbox TEXT NOT NULL,
    number INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    policy TEXT NOT NULL,
    winner TEXT NOT NULL,
    seq INTEGER NOT NULL,
    resolved TEXT NOT NULL DEFAULT '',
    kept_us INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX conflict_of ON conflicts (collection, device, outbox, number) WHERE device != '';
CREATE INDEX conflicts_to_go ON conflicts (collection, resolved = '');
CREATE INDEX conflicts_since ON conflicts (collection, kept_us);

CREATE TABLE conflict_sides (
    id INTEGER PRIMARY KEY,
    conflict INTEGER NOT NULL,
    type TEXT NOT NULL,
    key BLOB NOT NULL,
    base BLOB,
    ours BLOB,
    theirs BLOB,
    result BLOB,
    contested INTEGER NOT NULL,
    copy BLOB NOT NULL
) STRICT;

CREATE INDEX conflict_sides_of ON conflict_sides (conflict);

-- Of each collection: status asks how many are open, each conflict whether there is room for it.
CREATE TABLE conflict_totals (
    collection TEXT PRIMARY KEY,
    open INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

CREATE TRIGGER conflicts_more AFTER INSERT ON conflicts BEGIN
    INSERT INTO conflict_totals VALUES (new.collection, 1, new.bytes)
        ON CONFLICT DO UPDATE SET open = open + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER conflicts_resolved AFTER UPDATE OF resolved ON conflicts BEGIN
    UPDATE conflict_totals SET open = open + (new.resolved = '') - (old.resolved = '') WHERE collection = old.collection;
END;

CREATE TRIGGER conflicts_less AFTER DELETE ON conflicts BEGIN
    UPDATE conflict_totals SET open = open - (old.resolved = ''), bytes = bytes - old.bytes
        WHERE collection = old.collection;
    DELETE FROM conflict_sides WHERE conflict = old.id;
END;
