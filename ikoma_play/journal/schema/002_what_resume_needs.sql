-- What a later process needs to go on with a run or to undo it.
-- occurrence: which step on this host it was, the same when the run is walked through again.
-- changed, extra, facts, notified: what the rest of the run saw of the step besides its outcome.
-- withheld: a secret was left out of that, so it cannot be given back.
-- undo: a JSON list of what tools wrote down before they changed something, the oldest first.
-- undoing: somebody began to undo the whole run: 1, or 2 where it had ended well; else 0.

ALTER TABLE steps ADD COLUMN occurrence TEXT NOT NULL DEFAULT '';

ALTER TABLE steps ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE steps ADD COLUMN extra TEXT;

ALTER TABLE steps ADD COLUMN facts TEXT;

ALTER TABLE steps ADD COLUMN notified TEXT;

ALTER TABLE steps ADD COLUMN withheld BIGINT NOT NULL DEFAULT 0;

ALTER TABLE steps ADD COLUMN undo TEXT;

ALTER TABLE runs ADD COLUMN undoing BIGINT NOT NULL DEFAULT 0;
