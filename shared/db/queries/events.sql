-- name: insert_event
INSERT INTO events (project_id, actor, kind, data, address)
VALUES (%(project_id)s, %(actor)s, %(kind)s, %(data)s::jsonb, %(address)s)
RETURNING id;

-- name: list_events
SELECT * FROM events WHERE project_id = %(project_id)s AND id < %(before)s ORDER BY id DESC LIMIT %(limit)s;

-- name: search
-- Of a project, or of everything; the newest first. Each condition has an index in order of id.
SELECT * FROM events
WHERE id < %(before)s
  AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s::bigint)
  AND (%(only)s::bigint[] IS NULL OR project_id = ANY (%(only)s::bigint[]))
  AND (%(actor)s::text IS NULL OR actor = %(actor)s::text)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s::timestamptz)
ORDER BY id DESC LIMIT %(limit)s;

-- name: actors
-- By a loose scan of the index: a step per actor, however many events there are.
WITH RECURSIVE who AS (
    (SELECT actor FROM events ORDER BY actor LIMIT 1)
    UNION ALL
    SELECT (SELECT e.actor FROM events e WHERE e.actor > who.actor ORDER BY e.actor LIMIT 1)
    FROM who WHERE who.actor IS NOT NULL
)
SELECT actor FROM who WHERE actor IS NOT NULL LIMIT %(limit)s;
