-- name: limit_time
-- Until the end of the transaction: whoever scrapes has gone by then.
SELECT set_config('statement_timeout', '3s', true);

-- name: jobs
-- By way of the index on jobs that have not ended well, never of the finished ones.
SELECT kind, state, count(*) AS jobs,
       extract(epoch FROM clock_timestamp() - min(run_after)
           FILTER (WHERE state = 'queued' AND run_after <= clock_timestamp()))::double precision AS oldest_due_s
FROM jobs WHERE state IN ('queued', 'running', 'dead') GROUP BY kind, state;

-- name: projects
-- Live tasks have indexes of their own; the newest round and model are the last entries of theirs.
SELECT p.id, p.name, p.state, coalesce(t.open, 0) AS tasks_open, coalesce(t.leased, 0) AS tasks_leased,
       r.number AS round, r.labels, c.accuracy
FROM projects p
LEFT JOIN (
    SELECT project_id, count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE state = 'leased') AS leased
    FROM tasks WHERE state IN ('open', 'leased') GROUP BY project_id
) t ON t.project_id = p.id
LEFT JOIN LATERAL (
    SELECT number, labels FROM rounds WHERE project_id = p.id ORDER BY number DESC LIMIT 1
) r ON true
LEFT JOIN LATERAL (
    SELECT (metrics ->> 'accuracy')::double precision AS accuracy
    FROM checkpoints WHERE project_id = p.id ORDER BY id DESC LIMIT 1
) c ON true
ORDER BY p.id;

-- name: newest
SELECT (SELECT max(number) FROM schema_migrations) AS schema,
       (SELECT extract(epoch FROM max(at))::double precision FROM events WHERE kind = 'backup.done') AS backup_at;
