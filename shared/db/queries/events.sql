-- name: insert_event
INSERT INTO events (project_id, actor, kind, data)
VALUES (%(project_id)s, %(actor)s, %(kind)s, %(data)s::jsonb)
RETURNING id;

-- name: list_events
SELECT * FROM events WHERE project_id = %(project_id)s AND id < %(before)s ORDER BY id DESC LIMIT %(limit)s;
