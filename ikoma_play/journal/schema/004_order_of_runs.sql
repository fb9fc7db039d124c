-- The order in which runs began, whatever a clock said that was set back in between.

ALTER TABLE runs ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;

UPDATE runs SET sequence = (SELECT count(*) FROM runs AS before WHERE before.started <= runs.started);
