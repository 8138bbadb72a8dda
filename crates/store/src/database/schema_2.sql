-- What an analyst says is normal. Nothing wrote the table of this name in version 1.
DROP TABLE exceptions;
CREATE TABLE exceptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    detector TEXT NOT NULL,
    -- Device, label, peer and facts, as JSON.
    scope TEXT NOT NULL,
    owner TEXT NOT NULL,
    reason TEXT NOT NULL,
    incident TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    until INTEGER,
    -- 0 once it ran out and what it held below the line was looked at again.
    is_live INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX exceptions_detector ON exceptions (detector, is_live);

-- shown is what lists go by; told is what the analysis said, before exceptions.
ALTER TABLE incidents ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
-- The exceptions that apply to it, as JSON: [{"id": 1, "alerts": ["..."]}]; empty for none.
ALTER TABLE incidents ADD COLUMN excepted TEXT NOT NULL DEFAULT '';
UPDATE incidents SET told = shown;
