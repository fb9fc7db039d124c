-- A run begins after the newest one and ends with a look at it, however many there are.

CREATE INDEX runs_in_order ON runs (sequence, id);
