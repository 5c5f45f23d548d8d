-- What it takes to follow one request through every log, and to measure people and backups.
-- Expand only: the columns may be null, so the code before this migration goes on working.

-- The id of what caused a job: a request, or the job that asked for it.
ALTER TABLE jobs ADD COLUMN trace_id text;

-- When the present or last lease of a task was given. A renewal leaves it.
ALTER TABLE tasks ADD COLUMN leased_at timestamptz;

-- The age of the last backup, without reading the whole audit log. Gauges of jobs need no index of their own:
-- jobs_unfinished has exactly the queued, running and dead ones.
CREATE INDEX events_backups ON events (at) WHERE kind = 'backup.done';
