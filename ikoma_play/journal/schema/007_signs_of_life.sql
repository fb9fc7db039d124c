-- When the process of a run last said that it lives, by the journal's own clock; 0: it is of an older version,
-- -1: another run holds it for dead and has taken a lock of it.

ALTER TABLE runs ADD COLUMN alive DOUBLE PRECISION NOT NULL DEFAULT 0;
