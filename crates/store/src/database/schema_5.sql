-- The alerts of incidents that somebody gave a verdict on, as they were then.
CREATE TABLE judgements (
    incident TEXT NOT NULL,
    detector TEXT NOT NULL,
    pattern TEXT NOT NULL,
    entity TEXT NOT NULL,
    verdict TEXT NOT NULL,
    judged_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    -- How rare and how much, as JSON.
    level TEXT NOT NULL,
    PRIMARY KEY (incident, detector, pattern, entity)
) WITHOUT ROWID;
CREATE INDEX judgements_class ON judgements (detector, pattern);
CREATE INDEX judgements_entity ON judgements (entity, verdict);

-- How much less it counts because its like was called harmless or wrong, and by which incidents, as a JSON list.
ALTER TABLE incidents ADD COLUMN lowered REAL NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN lowered_by TEXT NOT NULL DEFAULT '';
-- What lists are ordered by: confidence and rarity less that.
ALTER TABLE incidents ADD COLUMN order_confidence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN order_rarity REAL NOT NULL DEFAULT 0;
UPDATE incidents SET order_confidence = confidence, order_rarity = rarity;
DROP INDEX incidents_rank;
CREATE INDEX incidents_rank ON incidents (shown, order_confidence DESC, order_rarity DESC, id);
