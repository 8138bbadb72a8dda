CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE incidents (
    id TEXT PRIMARY KEY,
    rank INTEGER NOT NULL,
    shown INTEGER NOT NULL,
    title TEXT NOT NULL,
    hypothesis TEXT NOT NULL,
    confidence INTEGER NOT NULL,
    rarity REAL NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    alerts INTEGER NOT NULL,
    phases TEXT NOT NULL,
    techniques TEXT NOT NULL,
    search TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    json TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX incidents_rank ON incidents (shown, confidence DESC, rarity DESC, id);
CREATE INDEX incidents_time ON incidents (last_seen);
CREATE TABLE incident_devices (
    incident TEXT NOT NULL,
    entity TEXT NOT NULL,
    name TEXT NOT NULL,
    suspected INTEGER NOT NULL,
    PRIMARY KEY (incident, entity)
) WITHOUT ROWID;
CREATE INDEX incident_devices_entity ON incident_devices (entity);
CREATE TABLE redirects (id TEXT PRIMARY KEY, target TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    detector TEXT NOT NULL,
    entity TEXT NOT NULL,
    phase TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    rarity REAL NOT NULL,
    discovered INTEGER NOT NULL,
    json TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX alerts_time ON alerts (last_seen);
CREATE INDEX alerts_entity ON alerts (entity, last_seen);

CREATE TABLE devices (
    entity TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    mac TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    is_cold INTEGER NOT NULL,
    days_seen INTEGER NOT NULL,
    search TEXT NOT NULL,
    json TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE addresses (addr TEXT PRIMARY KEY, entity TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX addresses_entity ON addresses (entity);
-- What people say of a device outlives what the analysis says of it.
CREATE TABLE assets (
    entity TEXT PRIMARY KEY,
    labels TEXT NOT NULL,
    value INTEGER NOT NULL,
    note TEXT NOT NULL
) WITHOUT ROWID;

-- What local addresses do, of their flows. A peer of '*' is the remainder: what went when room was made;
-- folded says how many rows it stands for.
CREATE TABLE habits (
    addr TEXT NOT NULL,
    direction TEXT NOT NULL,
    peer TEXT NOT NULL,
    service TEXT NOT NULL,
    flows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    folded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (addr, direction, peer, service)
) WITHOUT ROWID;
CREATE INDEX habits_peer ON habits (peer, service, direction);
CREATE TABLE habit_week (
    addr TEXT NOT NULL,
    hour INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    PRIMARY KEY (addr, hour)
) WITHOUT ROWID;
CREATE TABLE habit_days (
    addr TEXT NOT NULL,
    day INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    PRIMARY KEY (addr, day)
) WITHOUT ROWID;
CREATE INDEX habit_days_day ON habit_days (day);
CREATE TABLE habit_hours (
    hour INTEGER NOT NULL,
    addr TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (hour, addr)
) WITHOUT ROWID;
CREATE TABLE peer_names (addr TEXT PRIMARY KEY, name TEXT NOT NULL, last_seen INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE activity (
    hour INTEGER PRIMARY KEY,
    events INTEGER NOT NULL DEFAULT 0,
    alerts INTEGER NOT NULL DEFAULT 0,
    incidents INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    seen_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    device TEXT NOT NULL,
    search TEXT NOT NULL,
    json TEXT NOT NULL
);
CREATE INDEX files_time ON files (seen_at);

CREATE TABLE cases (
    incident TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    assignee TEXT,
    verdict TEXT,
    reason TEXT,
    alerts_then INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE comments (
    id INTEGER PRIMARY KEY,
    incident TEXT NOT NULL,
    at INTEGER NOT NULL,
    user TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX comments_incident ON comments (incident, id);
CREATE TABLE links (
    incident TEXT NOT NULL,
    other TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (incident, other)
) WITHOUT ROWID;
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    incident TEXT NOT NULL,
    at INTEGER NOT NULL,
    user TEXT NOT NULL,
    what TEXT NOT NULL
);
CREATE INDEX history_incident ON history (incident, id);
CREATE TABLE exceptions (
    id INTEGER PRIMARY KEY,
    incident TEXT,
    at INTEGER NOT NULL,
    user TEXT NOT NULL,
    until INTEGER,
    reason TEXT NOT NULL,
    json TEXT NOT NULL
);

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    pseudonymised INTEGER NOT NULL,
    is_disabled INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,
    user TEXT NOT NULL,
    pseudonymised INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    address TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user, created_at);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    pseudonymised INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    used_at INTEGER
) WITHOUT ROWID;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    user TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
);
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- Else INSERT OR REPLACE would take a row away without a DELETE.
CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
WHEN NEW.seq <= (SELECT COALESCE(MAX(seq), 0) FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE pseudonyms (pseudonym TEXT PRIMARY KEY, original TEXT NOT NULL) WITHOUT ROWID;

-- Level 0 holds every status, 1 minutes, 2 ten minutes: the mean of rates and memory, the most of lag.
CREATE TABLE health (
    level INTEGER NOT NULL,
    at INTEGER NOT NULL,
    n INTEGER NOT NULL,
    lag REAL NOT NULL,
    packets REAL NOT NULL,
    memory REAL NOT NULL,
    PRIMARY KEY (level, at)
) WITHOUT ROWID;
