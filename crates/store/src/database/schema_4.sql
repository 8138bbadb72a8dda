-- How rare and how much the alerts were that an exception was about when it was made, as JSON: its tripwire.
-- Empty for exceptions of before.
ALTER TABLE exceptions ADD COLUMN seen TEXT NOT NULL DEFAULT '';

-- Whether exceptions hold it below the line.
ALTER TABLE incidents ADD COLUMN is_held INTEGER NOT NULL DEFAULT 0;
UPDATE incidents SET is_held = told AND NOT shown;
