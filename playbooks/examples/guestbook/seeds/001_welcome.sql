-- A first entry, so that nobody has to write on an empty page.
INSERT INTO entries (author, place, message)
SELECT 'ikoma-play', 'the runbook', 'Welcome! This entry came with the seed; yours goes above it.'
WHERE NOT EXISTS (SELECT 1 FROM entries);
