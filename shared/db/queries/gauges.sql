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

-- name: webhooks
-- Endpoints; how long one has failed by now, those left out at which nothing was tried for two days; and how long the
-- first message has been due of those that work: one that fails is kept waiting on purpose.
SELECT count(*) FILTER (WHERE e.enabled AND e.failing_since IS NULL) AS working,
       count(*) FILTER (WHERE e.enabled AND e.failing_since IS NOT NULL) AS failing,
       count(*) FILTER (WHERE NOT e.enabled) AS disabled,
       coalesce(max(extract(epoch FROM clock_timestamp() - e.failing_since))
           FILTER (WHERE e.enabled AND e.failed_at > clock_timestamp() - interval '2 days'), 0)::float8 AS failing_s,
       coalesce(max(extract(epoch FROM clock_timestamp() - m.next_at)), 0)::float8 AS oldest_due_s
FROM webhook_endpoints e
LEFT JOIN LATERAL (
    SELECT n.next_at FROM webhook_messages n
    WHERE n.endpoint_id = e.id AND n.state = 'pending' AND e.enabled AND e.failing_since IS NULL
    ORDER BY n.next_at LIMIT 1
) m ON true;
