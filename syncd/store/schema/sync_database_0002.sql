-- On an auxiliary: the primary that it follows, the one it was paired with last. No clock decides that (R1); the
-- first schema noted only when each was paired.
CREATE TABLE followed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE
) STRICT;

INSERT INTO followed
SELECT 1, id FROM devices WHERE role = 'primary' ORDER BY paired_us DESC, id LIMIT 1;
