-- name: running_s
-- For how long a job has run, in seconds.
SELECT extract(epoch FROM clock_timestamp() - started_at)::float8 AS seconds FROM jobs WHERE id = %(id)s;

-- name: insert_job
-- Asking twice is asking once: the unique key decides.
INSERT INTO jobs (kind, project_id, round_id, unique_key, payload, trace_id)
VALUES (%(kind)s, %(project_id)s, %(round_id)s, %(unique_key)s, %(payload)s::jsonb, %(trace_id)s)
ON CONFLICT (unique_key) DO NOTHING
RETURNING *;

-- name: claim
-- Take a job that is due, or whose last worker let its lease run out, under a new fence.
UPDATE jobs SET state = 'running', attempts = attempts + 1, fence = fence + 1, worker = %(worker)s,
    lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), started_at = clock_timestamp(),
    progress = 0, detail = '{}', error = NULL
WHERE id = %(id)s AND attempts < %(max_attempts)s
  AND ((state = 'queued' AND run_after <= clock_timestamp())
       OR (state = 'running' AND lease_until < clock_timestamp()))
RETURNING *;

-- name: heartbeat
-- No row means that the lease is lost, or the job was cancelled.
UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
    progress = %(progress)s, detail = %(detail)s::jsonb
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING id;

-- name: finish
UPDATE jobs SET state = 'done', lease_until = NULL, progress = 1, finished_at = clock_timestamp()
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING id;

-- name: set_result
UPDATE jobs SET result = %(result)s::jsonb WHERE id = %(id)s;

-- name: results
SELECT result FROM jobs
WHERE round_id = %(round_id)s AND kind = %(kind)s AND state = 'done' AND result IS NOT NULL;

-- name: retry_later
UPDATE jobs SET state = 'queued', lease_until = NULL, worker = NULL, error = %(error)s,
    run_after = clock_timestamp() + make_interval(secs => %(delay_s)s), woken_at = clock_timestamp()
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING id;

-- name: bury
UPDATE jobs SET state = 'dead', lease_until = NULL, error = %(error)s, finished_at = clock_timestamp()
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING id;

-- name: give_back
-- A worker that is told to stop: the attempt does not count.
UPDATE jobs SET state = 'queued', lease_until = NULL, worker = NULL, attempts = attempts - 1,
    run_after = clock_timestamp(), woken_at = clock_timestamp()
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING id;

-- name: cancel
-- The new fence keeps what its worker still does from being published.
UPDATE jobs SET state = %(state)s, fence = fence + 1, lease_until = NULL, error = %(error)s,
    finished_at = clock_timestamp()
WHERE id = %(id)s AND state IN ('queued', 'running')
RETURNING *;

-- name: withdraw
-- Nobody wants what it would find: it can't be requeued, and is no failure that somebody has to see to.
UPDATE jobs SET state = 'cancelled', fence = fence + 1, lease_until = NULL, finished_at = clock_timestamp()
WHERE id = %(id)s AND state IN ('queued', 'running', 'dead');

-- name: requeue
UPDATE jobs SET state = 'queued', attempts = 0, error = NULL, run_after = clock_timestamp(),
    woken_at = clock_timestamp(), finished_at = NULL
WHERE state = 'dead' AND (%(id)s::bigint IS NULL OR id = %(id)s::bigint)
  AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s::bigint)
RETURNING *;

-- name: bury_exhausted
-- Workers that died with the job five times over: the job is to blame.
UPDATE jobs SET state = 'dead', lease_until = NULL, finished_at = clock_timestamp(),
    error = coalesce(error, 'the worker died or lost its lease at every attempt')
WHERE state = 'running' AND lease_until < clock_timestamp() AND attempts >= %(max_attempts)s
RETURNING *;

-- name: requeue_expired
UPDATE jobs SET state = 'queued', lease_until = NULL, worker = NULL, run_after = clock_timestamp(),
    woken_at = clock_timestamp() - interval '1 day'
WHERE id IN (
    SELECT id FROM jobs WHERE state = 'running' AND lease_until < clock_timestamp()
    ORDER BY lease_until LIMIT 100 FOR UPDATE SKIP LOCKED
)
RETURNING *;

-- name: to_wake
-- Queued jobs whose wake-up seems lost (or is due for the first time after a back-off).
UPDATE jobs SET woken_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM jobs
    WHERE state = 'queued' AND run_after <= clock_timestamp()
      AND (woken_at < clock_timestamp() - make_interval(secs => %(patience_s)s) OR run_after > woken_at)
    ORDER BY woken_at LIMIT 500 FOR UPDATE SKIP LOCKED
)
RETURNING id, kind;

-- name: next_due
-- Of the first kinds if there is one, else of the others.
SELECT id FROM jobs
WHERE state = 'queued' AND kind = ANY (%(first)s::text[] || %(then)s::text[]) AND run_after <= clock_timestamp()
ORDER BY kind = ANY (%(first)s::text[]) DESC, woken_at LIMIT 1;

-- name: get
SELECT * FROM jobs WHERE id = %(id)s;

-- name: list_jobs
SELECT * FROM jobs
WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s::bigint)
  AND (%(state)s::text IS NULL OR state = %(state)s::text)
  AND (%(kinds)s::text[] IS NULL OR kind = ANY (%(kinds)s::text[]))
ORDER BY id DESC LIMIT %(limit)s;

-- name: unfinished
SELECT count(*) AS unfinished FROM jobs
WHERE round_id = %(round_id)s AND kind = %(kind)s AND state IN ('queued', 'running', 'dead');

-- name: count_by_state
SELECT kind, state, count(*) AS jobs FROM jobs
WHERE project_id = %(project_id)s AND state IN ('queued', 'running', 'dead')
GROUP BY kind, state ORDER BY kind, state;

-- name: try_sweep_lock
-- One sweeper at a time, until the end of the transaction.
SELECT pg_try_advisory_xact_lock(1398228304) AS mine;

-- name: workers
-- Who was at work lately: of the newest jobs, by worker and kind. Those that only wait are not in the database.
SELECT worker, kind, count(*) FILTER (WHERE state = 'done') AS done, bool_or(state = 'running') AS busy,
       max(coalesce(finished_at, lease_until, started_at)) AS seen_at
FROM (SELECT * FROM jobs ORDER BY id DESC LIMIT 2000) AS newest
WHERE worker IS NOT NULL AND coalesce(finished_at, lease_until, started_at) > now() - make_interval(hours => %(hours)s)
GROUP BY worker, kind ORDER BY worker, kind;

-- name: server_version
SELECT current_setting('server_version') AS version, max(number) AS schema FROM schema_migrations;
