-- Every statement of the journal but its schema. Each begins with its name; `:word` is a parameter.
-- Both SQLite and PostgreSQL take them as they stand; journal_clock() is the journal's own time, in seconds since the
-- epoch, the same for all who share it.

-- name: add_run
-- A run that begins. Times are seconds since the epoch, lists and mappings JSON.
INSERT INTO runs (id, state, started, playbooks, inventory, options, variables, files, who, host, pid, boot,
                  process_start, version, alive, sequence)
VALUES (:id, :state, :started, :playbooks, :inventory, :options, :variables, :files, :who, :host, :pid, :boot,
        :process_start, :version, journal_clock(), (SELECT coalesce(max(sequence), 0) + 1 FROM runs));

-- name: end_run
-- What became of a run.
UPDATE runs SET state = :state, ended = :ended, report = :report WHERE id = :id;

-- name: take_run
-- Go on with a run whose process has ended, or undo it; changes no row where another was quicker.
UPDATE runs SET state = 'running', ended = NULL, report = NULL, undoing = CASE WHEN undoing > 0 THEN undoing ELSE :undoing END,
                host = :host, pid = :pid, boot = :boot, process_start = :process_start, alive = journal_clock()
WHERE id = :id AND state = :old_state AND pid = :old_pid AND process_start = :old_process_start;

-- name: take_locks
-- The locks of a run are held by the process that goes on with it.
UPDATE locks SET who = :who, host = :host, pid = :pid, boot = :boot, process_start = :process_start WHERE run = :id;

-- name: live
-- The process of a run lives; changes no row where others hold it for dead, or another process has the run.
UPDATE runs SET alive = journal_clock()
WHERE id = :id AND host = :host AND pid = :pid AND process_start = :process_start AND alive > 0;

-- name: hold_for_dead
-- A lock of a run is about to be taken over: should its process live after all, it must go no further.
UPDATE runs SET alive = -1 WHERE id = :dead AND EXISTS (
    SELECT 1 FROM locks WHERE name = :name AND run = :dead AND run <> :run AND pid = :dead_pid AND since = :dead_since);

-- name: newest_runs
-- The newest runs first; `waiting` is how many questions of a run wait for an answer.
SELECT runs.*, (SELECT count(*) FROM approvals WHERE approvals.run = runs.id AND answer = '') AS waiting,
       journal_clock() - alive AS silent FROM runs ORDER BY sequence DESC, id DESC LIMIT :most;

-- name: runs_like
-- Runs whose id begins with a text, the newest first.
SELECT runs.*, (SELECT count(*) FROM approvals WHERE approvals.run = runs.id AND answer = '') AS waiting,
       journal_clock() - alive AS silent FROM runs WHERE id LIKE :beginning ORDER BY sequence DESC, id DESC LIMIT 10;

-- name: running
-- Whose processes runs are that have not ended, as far as the journal knows.
SELECT runs.*, (SELECT count(*) FROM approvals WHERE approvals.run = runs.id AND answer = '') AS waiting,
       journal_clock() - alive AS silent FROM runs WHERE state = 'running';

-- name: begin_step
-- A step that is about to touch a host; its number counts the run's entries from 1.
INSERT INTO steps (run, number, play, host, kind, title, tool, phase, position, occurrence, state, started, arguments)
VALUES (:run, :number, :play, :host, :kind, :title, :tool, :phase, :position, :occurrence, 'started', :started,
        :arguments);

-- name: begin_step_again
-- A step that is about to touch a host a second time: its first end, if it had one, is forgotten.
UPDATE steps SET state = 'started', started = :started, ended = NULL, arguments = :arguments, outcome = NULL
WHERE run = :run AND number = :number;

-- name: end_step
-- What a step that had begun came to. Where it touched nothing, what it kept is not needed any more.
UPDATE steps SET state = :state, ended = :ended, outcome = :outcome, changed = :changed, extra = :extra,
                 facts = :facts, notified = :notified, withheld = :withheld,
                 undo = CASE WHEN :touched = 1 THEN undo ELSE :unneeded END
WHERE run = :run AND number = :number;

-- name: keep_undo
-- How what a step is about to change is undone: a JSON list, the oldest first.
UPDATE steps SET undo = :undo WHERE run = :run AND number = :number;

-- name: add_step
-- A step that came to its outcome without touching a host: skipped, or wrong before it began.
INSERT INTO steps (run, number, play, host, kind, title, tool, phase, position, occurrence, state, started, ended,
                   arguments, outcome, changed, extra, facts, notified, withheld)
VALUES (:run, :number, :play, :host, :kind, :title, :tool, :phase, :position, :occurrence, :state, :started, :ended,
        :arguments, :outcome, :changed, :extra, :facts, :notified, :withheld);

-- name: steps_of
-- The steps of a run in the order in which they began.
SELECT * FROM steps WHERE run = :run ORDER BY number;

-- name: add_note
-- A line about a run that belongs to no step: a warning, a lock that was taken over.
INSERT INTO notes (run, at, text) VALUES (:run, :at, :text);

-- name: notes_of
-- The notes of a run, the oldest first.
SELECT at, text FROM notes WHERE run = :run ORDER BY at;

-- name: take_lock
-- Take a lock that nobody holds; changes no row where somebody does.
INSERT INTO locks (name, run, who, host, pid, boot, process_start, since)
VALUES (:name, :run, :who, :host, :pid, :boot, :process_start, :since)
ON CONFLICT (name) DO NOTHING;

-- name: holder
-- Who holds a lock, and when it last said that it lives.
SELECT locks.*, coalesce(runs.alive, 0) AS alive, journal_clock() - coalesce(runs.alive, 0) AS silent
FROM locks LEFT JOIN runs ON runs.id = locks.run WHERE name = :name;

-- name: all_locks
-- Every lock with its holder.
SELECT locks.*, coalesce(runs.alive, 0) AS alive, journal_clock() - coalesce(runs.alive, 0) AS silent
FROM locks LEFT JOIN runs ON runs.id = locks.run;

-- name: replace_lock
-- Take a lock over from a run that is known to be dead; changes no row where another was quicker.
UPDATE locks SET run = :run, who = :who, host = :host, pid = :pid, boot = :boot, process_start = :process_start,
                 since = :since
WHERE name = :name AND run = :dead AND pid = :dead_pid AND since = :dead_since;

-- name: give_back
-- Give all locks of a run back, those that an earlier process of it took too.
DELETE FROM locks WHERE run = :run;

-- name: give_one_back
-- Give one lock of a run back.
DELETE FROM locks WHERE name = :name AND run = :run;

-- name: add_notification
-- A message for one contact by one way, before it is sent.
INSERT INTO notifications (id, run, at, severity, contact, way, host, app, message)
VALUES (:id, :run, :at, :severity, :contact, :way, :host, :app, :message);

-- name: waiting_notifications
-- Those that were not sent yet, the oldest first.
SELECT * FROM notifications WHERE sent IS NULL ORDER BY at, id LIMIT 1000;

-- name: claim_notification
-- Begin to send one; changes no row where another process is at it or has done it.
UPDATE notifications SET claimed = :now, attempts = attempts + 1 WHERE id = :id AND sent IS NULL AND claimed < :stale;

-- name: notification_sent
-- One that the contact has.
UPDATE notifications SET sent = :sent, error = '' WHERE id = :id;

-- name: notification_failed
-- One that could not be sent, and stays.
UPDATE notifications SET claimed = 0, error = :error WHERE id = :id;

-- name: newest_notifications
-- The newest first, of one application or (an empty name) of all.
SELECT * FROM notifications WHERE app = :app OR :app = '' ORDER BY at DESC, id DESC LIMIT :most;

-- name: run_of
-- One run by its whole id.
SELECT runs.*, (SELECT count(*) FROM approvals WHERE approvals.run = runs.id AND answer = '') AS waiting,
       journal_clock() - alive AS silent FROM runs WHERE id = :run;

-- name: add_event
-- What happened in a run that a server started.
INSERT INTO events (run, number, event)
SELECT :run, coalesce(max(number), 0) + 1, :event FROM events WHERE run = :run;

-- name: events_after
-- What happened in a run after an event, at most so much at once.
SELECT number, event FROM events WHERE run = :run AND number > :after ORDER BY number LIMIT 500;

-- name: begin_request
-- A request that nobody has made before; changes no row where somebody has.
INSERT INTO requests (caller, name, asked, at, host, pid, boot, process_start)
VALUES (:caller, :name, :asked, :at, :host, :pid, :boot, :process_start)
ON CONFLICT (caller, name) DO NOTHING;

-- name: request_of
-- A request by the name of the caller's key and its Idempotency-Key. It lives as long as what it began says so; before
-- that it was heard of when it was made.
SELECT requests.*, coalesce(runs.alive, requests.at) AS alive,
       journal_clock() - coalesce(runs.alive, requests.at) AS silent
FROM requests LEFT JOIN runs ON runs.id = requests.run WHERE caller = :caller AND name = :name;

-- name: request_runs
-- A request is about to begin something that must not begin twice; changes no row where another has taken its place.
UPDATE requests SET run = :run WHERE caller = :caller AND name = :name AND at = :at;

-- name: end_request
-- What a request was answered with.
UPDATE requests SET status = :status, answer = :answer WHERE caller = :caller AND name = :name AND at = :at;

-- name: forget_request
-- A request that began nothing may be made again.
DELETE FROM requests WHERE caller = :caller AND name = :name AND at = :at AND status = 0;

-- name: forget_old_requests
-- Requests are remembered for a while.
DELETE FROM requests WHERE at < :before;

-- name: ask_approval
-- A run asks a person; its questions count from 1.
INSERT INTO approvals (run, number, question, role, host, step, asked, until)
SELECT :run, coalesce(max(number), 0) + 1, :question, :role, :host, :step, :asked, :until
FROM approvals WHERE run = :run;

-- name: approvals_of
-- The questions of a run, the oldest first.
SELECT * FROM approvals WHERE run = :run ORDER BY number;

-- name: answer_approval
-- A person answers; changes no row where the question was answered or its time is over.
UPDATE approvals SET answer = :answer, who = :who, comment = :comment, answered = :at
WHERE run = :run AND number = :number AND answer = '' AND until > :at;

-- name: close_approval
-- A question that nobody has answered is no longer asked; changes no row where somebody has.
UPDATE approvals SET answer = :answer WHERE run = :run AND number = :number AND answer = '';

-- name: claim_schedule
-- A time of a schedule is ours, with the run that it will come to; changes no row where another server has it.
INSERT INTO schedules (name, due, at, host, pid, boot, process_start, run, missed, expression, said)
VALUES (:name, :due, :at, :host, :pid, :boot, :process_start, :run, :missed, :expression, :said)
ON CONFLICT (name, due) DO NOTHING;

-- name: take_schedule_over
-- Begin what another server took and has not begun; changes no row where a third one was quicker.
UPDATE schedules SET at = :at, host = :host, pid = :pid, boot = :boot, process_start = :process_start
WHERE name = :name AND due = :due AND at = :old_at AND pid = :old_pid AND said = '';

-- name: schedule_failed
-- Why a time of a schedule came to no run.
UPDATE schedules SET said = :said WHERE name = :name AND due = :due;

-- name: last_of_schedule
-- The last time of a schedule that any server took, the clock's mistakes beyond a moment left out.
SELECT * FROM schedules WHERE name = :name AND due < :before ORDER BY due DESC LIMIT 1;

-- name: last_taken_of_schedule
-- The last time of a schedule that came to a run, or is to.
SELECT * FROM schedules WHERE name = :name AND run <> '' AND said = '' ORDER BY due DESC LIMIT 1;

-- name: last_run_of_schedule
-- The run that a schedule came to last, as far as it has begun.
SELECT runs.*, (SELECT count(*) FROM approvals WHERE approvals.run = runs.id AND answer = '') AS waiting,
       journal_clock() - alive AS silent FROM schedules JOIN runs ON runs.id = schedules.run
WHERE schedules.name = :name ORDER BY schedules.due DESC LIMIT 1;

-- name: last_success_of_schedule
-- When a run of a schedule ended well last.
SELECT max(runs.ended) AS ended FROM schedules JOIN runs ON runs.id = schedules.run
WHERE schedules.name = :name AND runs.state = 'done';

-- name: schedules_not_begun
-- Times that servers took since a moment, and whose runs have not begun.
SELECT * FROM schedules WHERE at > :since AND run <> '' AND said = ''
AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = schedules.run) ORDER BY due;

-- name: forget_old_schedules
-- Times of schedules are remembered for a while, the last one of each for ever.
DELETE FROM schedules WHERE due < :before
AND EXISTS (SELECT 1 FROM schedules AS later WHERE later.name = schedules.name AND later.due > schedules.due);

-- name: runs_before
-- Runs that began before a time, the oldest first.
SELECT *, 0 AS waiting, journal_clock() - alive AS silent FROM runs WHERE started < :before ORDER BY sequence, id;

-- name: newest_ids
-- The ids of the newest runs.
SELECT id FROM runs ORDER BY sequence DESC, id DESC LIMIT :most;

-- name: last_done
-- When the last run of the same playbooks ended well.
SELECT playbooks, inventory, max(sequence) AS last FROM runs WHERE state = 'done' GROUP BY playbooks, inventory;

-- name: steps_with_a_past
-- Steps that recorded a release, or before which was kept what they changed, of the newest runs first.
SELECT steps.run, steps.host, steps.arguments FROM steps JOIN runs ON runs.id = steps.run
WHERE (steps.undo IS NOT NULL AND steps.state <> 'ok') OR (steps.changed = 1 AND steps.tool IN ('deploy.up', 'artifact.record_release'))
ORDER BY runs.sequence DESC, steps.number;

-- name: forget_run
-- A run goes, with its steps and notes.
DELETE FROM runs WHERE id = :run;

-- name: forget_events
-- So do its events,
DELETE FROM events WHERE run = :run;

-- name: forget_approvals
-- and its questions.
DELETE FROM approvals WHERE run = :run;
