-- name: insert_endpoint
INSERT INTO webhook_endpoints (project_id, url, description, types, created_by)
VALUES (%(project_id)s, %(url)s, %(description)s, %(types)s::text[], %(created_by)s)
RETURNING id;

-- name: get_endpoint
SELECT * FROM webhook_endpoints
WHERE id = %(id)s AND (%(within)s::bigint[] IS NULL OR project_id = ANY (%(within)s::bigint[]));

-- name: lock_endpoint
SELECT * FROM webhook_endpoints
WHERE id = %(id)s AND (%(within)s::bigint[] IS NULL OR project_id = ANY (%(within)s::bigint[])) FOR UPDATE;

-- name: list_endpoints
SELECT * FROM webhook_endpoints
WHERE id > %(after)s AND (%(within)s::bigint[] IS NULL OR project_id = ANY (%(within)s::bigint[]))
ORDER BY id LIMIT %(limit)s;

-- name: count_endpoints
SELECT count(*) AS endpoints FROM webhook_endpoints;

-- name: set_endpoint
UPDATE webhook_endpoints SET url = %(url)s, description = %(description)s, types = %(types)s::text[] WHERE id = %(id)s;

-- name: enable
-- It begins anew: what failed before does not count.
UPDATE webhook_endpoints SET enabled = true, disabled_reason = NULL, failing_since = NULL
WHERE id = %(id)s AND NOT enabled;

-- name: disable
UPDATE webhook_endpoints SET enabled = false, disabled_reason = %(reason)s WHERE id = %(id)s AND enabled;

-- name: delete_endpoint
-- With its secrets, its messages, and their log.
DELETE FROM webhook_endpoints WHERE id = %(id)s;

-- name: expire_secrets
-- Those that had no end are good for so long; those that run out already are not prolonged.
UPDATE webhook_secrets SET expires_at = clock_timestamp() + make_interval(secs => %(keep_s)s)
WHERE endpoint_id = %(endpoint_id)s AND expires_at IS NULL;

-- name: insert_secret
INSERT INTO webhook_secrets (endpoint_id, secret) VALUES (%(endpoint_id)s, %(secret)s);

-- name: secrets
-- The newest first.
SELECT secret FROM webhook_secrets
WHERE endpoint_id = %(endpoint_id)s AND (expires_at IS NULL OR expires_at > clock_timestamp())
ORDER BY id DESC LIMIT %(most)s;

-- name: emit
-- A row for each endpoint that wants this, for each of the things that happened; none where nobody listens.
INSERT INTO webhook_messages (endpoint_id, uid, type, data)
SELECT e.id, said.uid, %(type)s, said.data
FROM (SELECT gen_random_uuid() AS uid, one AS data FROM unnest(%(data)s::jsonb[]) AS one OFFSET 0) AS said
CROSS JOIN webhook_endpoints e
WHERE e.enabled AND (e.project_id IS NULL OR e.project_id = %(project_id)s) AND %(type)s = ANY (e.types);

-- name: insert_message
-- To one endpoint, whatever it wants to be told of.
INSERT INTO webhook_messages (endpoint_id, uid, type, data)
VALUES (%(endpoint_id)s, gen_random_uuid(), %(type)s, %(data)s::jsonb)
RETURNING *;

-- name: claim
-- Due messages, a few of each endpoint so that none waits for another's: per_endpoint at most less those in hand (busy,
-- one entry each), and one at a time of an endpoint that fails. Whoever takes them has until the lease ends.
WITH due AS (
    SELECT m.id FROM webhook_endpoints e
    CROSS JOIN LATERAL (
        SELECT n.id, n.next_at FROM webhook_messages n
        WHERE n.endpoint_id = e.id AND n.state = 'pending' AND n.next_at <= clock_timestamp()
          AND (e.enabled OR n.type = 'webhook.ping')
        ORDER BY n.next_at, n.id
        LIMIT greatest(0, CASE WHEN e.failing_since IS NULL THEN %(per_endpoint)s::int ELSE 1 END
                          - (SELECT count(*) FROM unnest(%(busy)s::bigint[]) AS b (id) WHERE b.id = e.id))
        FOR UPDATE OF n SKIP LOCKED
    ) AS m
    ORDER BY m.next_at, m.id LIMIT %(count)s
)
UPDATE webhook_messages SET fence = fence + 1, next_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM due, webhook_endpoints e
WHERE webhook_messages.id = due.id AND e.id = webhook_messages.endpoint_id
RETURNING webhook_messages.*, e.url;

-- name: settle
-- What became of an attempt, unless another has claimed the message since or it was given up meanwhile. wait_s null: that
-- was the last one.
UPDATE webhook_messages SET attempts = attempts + 1,
    state = CASE WHEN %(delivered)s THEN 'delivered' WHEN %(wait_s)s::double precision IS NULL THEN 'failed'
            ELSE 'pending' END,
    next_at = CASE WHEN %(delivered)s OR %(wait_s)s::double precision IS NULL THEN next_at
              ELSE clock_timestamp() + make_interval(secs => %(wait_s)s::double precision) END,
    finished_at = CASE WHEN %(delivered)s OR %(wait_s)s::double precision IS NULL THEN clock_timestamp() END
WHERE id = %(id)s AND fence = %(fence)s AND state = 'pending';

-- name: insert_attempt
INSERT INTO webhook_attempts (message_id, at, duration_ms, status, error, excerpt)
SELECT %(message_id)s, %(at)s, %(duration_ms)s, %(status)s, %(error)s, %(excerpt)s
WHERE EXISTS (SELECT 1 FROM webhook_messages WHERE id = %(message_id)s);

-- name: mark_working
UPDATE webhook_endpoints SET failing_since = NULL WHERE id = %(id)s AND failing_since IS NOT NULL;

-- name: mark_failing
-- Counted anew where nothing was tried for longer than forget_s: then nobody knows how it was meanwhile.
UPDATE webhook_endpoints SET failed_at = clock_timestamp(),
    failing_since = CASE
        WHEN failing_since IS NULL OR failed_at < clock_timestamp() - make_interval(secs => %(forget_s)s)
        THEN clock_timestamp() ELSE failing_since END
WHERE id = %(id)s
RETURNING *, extract(epoch FROM clock_timestamp() - failing_since)::double precision AS failing_s;

-- name: give_up_messages
-- Nothing more goes to an endpoint that was disabled.
UPDATE webhook_messages SET state = 'failed', finished_at = clock_timestamp()
WHERE endpoint_id = %(endpoint_id)s AND state = 'pending';

-- name: list_messages
-- The newest first, each with its last attempt.
SELECT m.*, last.at AS tried_at, last.duration_ms, last.status, last.error, last.excerpt FROM webhook_messages m
LEFT JOIN LATERAL (
    SELECT * FROM webhook_attempts a WHERE a.message_id = m.id ORDER BY a.id DESC LIMIT 1
) AS last ON true
WHERE m.endpoint_id = %(endpoint_id)s AND m.id < %(before)s AND (%(state)s::text IS NULL OR m.state = %(state)s::text)
ORDER BY m.id DESC LIMIT %(limit)s;

-- name: get_message
SELECT m.*, last.at AS tried_at, last.duration_ms, last.status, last.error, last.excerpt FROM webhook_messages m
LEFT JOIN LATERAL (
    SELECT * FROM webhook_attempts a WHERE a.message_id = m.id ORDER BY a.id DESC LIMIT 1
) AS last ON true
WHERE m.id = %(id)s AND m.endpoint_id = %(endpoint_id)s;

-- name: list_attempts
SELECT * FROM webhook_attempts WHERE message_id = %(message_id)s ORDER BY id;

-- name: redeliver
-- From the beginning, at once. Its uid stays: a receiver that has had it can tell. None while it waits anyway.
UPDATE webhook_messages SET state = 'pending', attempts = 0, fence = fence + 1, next_at = clock_timestamp(),
    finished_at = NULL
WHERE id = %(id)s AND endpoint_id = %(endpoint_id)s AND state <> 'pending'
RETURNING id;

-- name: delete_old_messages
-- With their attempts.
DELETE FROM webhook_messages WHERE id IN (
    SELECT id FROM webhook_messages
    WHERE state <> 'pending' AND finished_at < clock_timestamp() - make_interval(secs => %(keep_s)s)
    ORDER BY finished_at LIMIT %(most)s
);
