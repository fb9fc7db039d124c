-- What servers that share a journal need to know of each other.

-- The events of runs that a server started, as --json prints them, numbered from 1 in each run.
CREATE TABLE events (
    run TEXT NOT NULL,
    number BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, number)
);

-- Requests that came with an Idempotency-Key. caller: the name of the key; asked: a hash of what was asked;
-- status 0: under way, in the process that the last columns name; run: what it began, once something began.
CREATE TABLE requests (
    caller TEXT NOT NULL,
    name TEXT NOT NULL,
    asked TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    status BIGINT NOT NULL DEFAULT 0,
    answer TEXT NOT NULL DEFAULT '',
    run TEXT NOT NULL DEFAULT '',
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    boot TEXT NOT NULL,
    process_start BIGINT NOT NULL,
    PRIMARY KEY (caller, name)
);

-- Questions of runs that wait for a person. answer: yes, no, or empty while nobody has answered.
CREATE TABLE approvals (
    run TEXT NOT NULL,
    number BIGINT NOT NULL,
    question TEXT NOT NULL,
    role TEXT NOT NULL,
    host TEXT NOT NULL,
    asked DOUBLE PRECISION NOT NULL,
    until DOUBLE PRECISION NOT NULL,
    answer TEXT NOT NULL DEFAULT '',
    who TEXT NOT NULL DEFAULT '',
    comment TEXT NOT NULL DEFAULT '',
    answered DOUBLE PRECISION,
    PRIMARY KEY (run, number)
);

-- What a schedule was due for, once for each time: whoever puts the row here runs it.
CREATE TABLE schedules (
    name TEXT NOT NULL,
    due DOUBLE PRECISION NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    run TEXT NOT NULL DEFAULT '',
    missed BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (name, due)
);
