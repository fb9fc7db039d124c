-- Which step of its host has asked, so that a run that goes on takes its question up again. answer: yes, no, late
-- (nobody answered in time), withdrawn (the run ended before), or empty while the question waits.
ALTER TABLE approvals ADD COLUMN step TEXT NOT NULL DEFAULT '';
