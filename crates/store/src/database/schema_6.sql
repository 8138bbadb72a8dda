-- Programs of others that enforce bans (bouncers): a key each.
CREATE TABLE bouncers (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Who asked with a key, by address. `asked_from` is the end of the connection of the last answer.
CREATE TABLE bouncer_pulls (
    bouncer TEXT NOT NULL REFERENCES bouncers (name) ON DELETE CASCADE,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    asked_from TEXT NOT NULL,
    last_pull INTEGER NOT NULL,
    PRIMARY KEY (bouncer, address)
) WITHOUT ROWID;

-- What each of them was told: bans that it has to hold (held = 1), and those that it has to let go, until it is sure
-- that it heard.
CREATE TABLE bouncer_told (
    bouncer TEXT NOT NULL,
    address TEXT NOT NULL,
    value TEXT NOT NULL,
    id INTEGER NOT NULL,
    scenario TEXT NOT NULL,
    until INTEGER NOT NULL,
    drops_at INTEGER NOT NULL,
    held INTEGER NOT NULL,
    answers INTEGER NOT NULL,
    PRIMARY KEY (bouncer, address, value),
    FOREIGN KEY (bouncer, address) REFERENCES bouncer_pulls (bouncer, address) ON DELETE CASCADE
) WITHOUT ROWID;

-- Who asked with a key that is none.
CREATE TABLE bouncer_strangers (
    address TEXT PRIMARY KEY,
    agent TEXT NOT NULL,
    tries INTEGER NOT NULL,
    last_try INTEGER NOT NULL
) WITHOUT ROWID;
