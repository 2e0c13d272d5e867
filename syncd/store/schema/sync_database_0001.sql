-- former: the name before the last change of it, which config.toml may still hold.
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    former TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE UNIQUE INDEX users_by_former ON users (former) WHERE former <> '';

-- label: what a person at this machine calls it. Times in microseconds UTC, 0: never.
CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    certificate BLOB NOT NULL,
    adapter TEXT NOT NULL,
    addresses TEXT NOT NULL,
    paired_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    label TEXT NOT NULL DEFAULT '',
    revoked_us INTEGER NOT NULL DEFAULT 0,
    copied_us INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The first table (claim 21c): one user identifier, the device identifiers linked to it. number: in the order of linking.
CREATE TABLE user_devices (
    number INTEGER PRIMARY KEY,
    user INTEGER NOT NULL REFERENCES users (id),
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    UNIQUE (user, device)
) STRICT;

CREATE INDEX user_devices_by_device ON user_devices (device);

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

-- What a device was sent, and may have, beyond what it reported: of each epoch, the newest last. collection empty: a link
-- is open, or was when the daemon ended, and what was sent over it is not known.
CREATE TABLE sent (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    collection TEXT NOT NULL,
    epoch TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT;

CREATE INDEX sent_to ON sent (device);

-- On an auxiliary: the primaries that it was paired with, each once. It follows the one with the highest number; where that
-- one is forgotten, the one before. No clock decides that (R1).
CREATE TABLE followed (
    number INTEGER PRIMARY KEY,
    device TEXT NOT NULL UNIQUE REFERENCES devices (id) ON DELETE CASCADE
) STRICT;

-- What a person chose, each with its place: a user, a device, a collection, or a collection on one device.
CREATE TABLE settings (
    id INTEGER PRIMARY KEY,
    user INTEGER REFERENCES users (id),
    device TEXT REFERENCES devices (id) ON DELETE CASCADE,
    collection TEXT,
    name TEXT NOT NULL,
    value TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX settings_by_place ON settings (
    ifnull(user, 0), ifnull(device, ''), ifnull(collection, ''), name
);
CREATE INDEX settings_by_device ON settings (device);

-- What was changed of that, and by whom as far as is known. user 0, other texts empty: as NULL above, or not set.
CREATE TABLE settings_journal (
    id INTEGER PRIMARY KEY,
    when_us INTEGER NOT NULL,
    who TEXT NOT NULL,
    user INTEGER NOT NULL,
    device TEXT NOT NULL,
    collection TEXT NOT NULL,
    name TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
) STRICT;

-- A change of settings that is held until a person decides. chosen: its values, each a JSON list of user, device,
-- collection, name and value. losses: what it would take away, each of device, collection, objects and of how many.
CREATE TABLE held_settings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    since_us INTEGER NOT NULL,
    who TEXT NOT NULL,
    chosen TEXT NOT NULL,
    losses TEXT NOT NULL
) STRICT;

-- How many objects settings that were changed took away from a device, by quarter of an hour.
CREATE TABLE taken_away (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    collection TEXT NOT NULL,
    quarter INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    PRIMARY KEY (device, collection, quarter)
) STRICT, WITHOUT ROWID;

-- The device that this database belongs to, the first that opened it.
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    device TEXT NOT NULL
) STRICT;
