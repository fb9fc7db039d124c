-- Who took a time of a schedule, so that others see whether it still lives; `expression` is what it was due by,
-- `said` why nothing ran, empty where something did or is to.

ALTER TABLE schedules ADD COLUMN boot TEXT NOT NULL DEFAULT '';

ALTER TABLE schedules ADD COLUMN process_start BIGINT NOT NULL DEFAULT 0;

ALTER TABLE schedules ADD COLUMN expression TEXT NOT NULL DEFAULT '';

ALTER TABLE schedules ADD COLUMN said TEXT NOT NULL DEFAULT '';
