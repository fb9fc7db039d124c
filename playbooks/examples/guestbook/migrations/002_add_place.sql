-- Where a visitor writes from; visitors before this did not say.
ALTER TABLE entries ADD COLUMN place text NOT NULL DEFAULT '' CHECK (length(place) <= 80);
CREATE INDEX entries_by_time ON entries (written_at DESC, id DESC);
