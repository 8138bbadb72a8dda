-- The alerts of an incident that are about files: one names the first of the gravest by its digest, and counts
-- those that its device had until then.
CREATE TABLE incident_files (
    incident TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    device TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (incident, sha256, device)
) WITHOUT ROWID;
CREATE INDEX incident_files_content ON incident_files (sha256);
CREATE INDEX incident_files_device ON incident_files (device, since);

-- The digest of a file; of what was inside a file, that of the file.
ALTER TABLE files ADD COLUMN content TEXT NOT NULL DEFAULT '';
UPDATE files SET content = COALESCE(json_extract(json, '$.file_sha256'), json_extract(json, '$.sha256'), '');
CREATE INDEX files_content ON files (content);
CREATE INDEX files_device ON files (device, seen_at);

-- The whole object, apart from what lists go through: a page then holds many incidents instead of a part of one.
CREATE TABLE incident_objects (id TEXT PRIMARY KEY, json TEXT NOT NULL);
INSERT INTO incident_objects SELECT id, json FROM incidents;
ALTER TABLE incidents DROP COLUMN json;
CREATE TRIGGER incident_gone AFTER DELETE ON incidents
BEGIN DELETE FROM incident_objects WHERE id = OLD.id; END;
