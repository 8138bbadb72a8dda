-- The contents that the alerts of an incident name, by digest.
CREATE TABLE incident_files (
    incident TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (incident, sha256)
) WITHOUT ROWID;
CREATE INDEX incident_files_content ON incident_files (sha256);
INSERT OR IGNORE INTO incident_files
SELECT i.id, lower(json_extract(fact.value, '$.text'))
FROM incidents i, json_each(i.json, '$.alerts') alert, json_each(alert.value, '$.evidence') fact
WHERE json_extract(fact.value, '$.key') = 'sha256' AND length(json_extract(fact.value, '$.text')) = 64;

-- The digest of a file; of what was inside a file, that of the file.
ALTER TABLE files ADD COLUMN content TEXT NOT NULL DEFAULT '';
UPDATE files SET content = COALESCE(json_extract(json, '$.file_sha256'), json_extract(json, '$.sha256'), '');
CREATE INDEX files_content ON files (content);
