CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    certificate BLOB NOT NULL,
    adapter TEXT NOT NULL,
    addresses TEXT NOT NULL,
    paired_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL
) STRICT;

-- The first table (claim 21c): one user identifier, the device identifiers linked to it.
CREATE TABLE user_devices (
    user INTEGER NOT NULL REFERENCES users (id),
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    PRIMARY KEY (user, device)
) STRICT, WITHOUT ROWID;

-- What a device reported last of a collection.
CREATE TABLE reports (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    collection TEXT NOT NULL,
    epoch TEXT NOT NULL,
    position INTEGER NOT NULL,
    digest BLOB NOT NULL,
    objects INTEGER NOT NULL,
    "match" INTEGER NOT NULL,
    parked INTEGER NOT NULL,
    offline TEXT NOT NULL,
    held INTEGER NOT NULL,
    PRIMARY KEY (device, collection)
) STRICT, WITHOUT ROWID;

-- The failed groups of a report, in its order.
CREATE TABLE failed (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    collection TEXT NOT NULL,
    seq INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    type TEXT NOT NULL,
    key BLOB NOT NULL,
    FOREIGN KEY (device, collection) REFERENCES reports (device, collection) ON DELETE CASCADE
) STRICT;

CREATE INDEX failed_on ON failed (device, collection);

-- On an auxiliary: the primary that it follows, the one it was paired with last. No clock decides that (R1).
CREATE TABLE followed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE
) STRICT;
