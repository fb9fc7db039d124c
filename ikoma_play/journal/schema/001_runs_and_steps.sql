-- Runs, their steps, notes about them, and locks.

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    started DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION,
    playbooks TEXT NOT NULL,
    inventory TEXT NOT NULL,
    options TEXT NOT NULL,
    variables TEXT NOT NULL,
    files TEXT NOT NULL,
    who TEXT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    boot TEXT NOT NULL,
    process_start BIGINT NOT NULL,
    version TEXT NOT NULL,
    report TEXT
);

CREATE TABLE steps (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    play TEXT NOT NULL,
    host TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    tool TEXT NOT NULL,
    phase TEXT NOT NULL,
    position TEXT NOT NULL,
    state TEXT NOT NULL,
    started DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION,
    arguments TEXT NOT NULL,
    outcome TEXT,
    PRIMARY KEY (run, number)
);

CREATE TABLE notes (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at DOUBLE PRECISION NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX notes_of_run ON notes (run, at);

CREATE TABLE locks (
    name TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    who TEXT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    boot TEXT NOT NULL,
    process_start BIGINT NOT NULL,
    since DOUBLE PRECISION NOT NULL
);
