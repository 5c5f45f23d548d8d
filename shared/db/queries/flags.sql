-- name: insert_flag
INSERT INTO flags (project_id, image_id, user_id, note, idempotency_key)
SELECT %(project_id)s, i.id, %(user_id)s, %(note)s, %(key)s
FROM images i WHERE i.id = %(image_id)s AND i.project_id = %(project_id)s
ON CONFLICT (user_id, idempotency_key) DO NOTHING
RETURNING id;

-- name: flag_by_key
SELECT id FROM flags WHERE user_id = %(user_id)s AND idempotency_key = %(key)s;

-- name: list_flags
-- The newest first, each with the image's present label.
SELECT f.id, f.image_id, i.filename, f.note, u.username AS by_name, f.created_at, f.resolved_at, f.resolved_by,
       c.name AS label
FROM flags f
JOIN images i ON i.id = f.image_id
JOIN users u ON u.id = f.user_id
LEFT JOIN labels l ON l.image_id = f.image_id
LEFT JOIN classes c ON c.id = l.class_id
WHERE f.project_id = %(project_id)s AND f.id < %(before)s AND (f.resolved_at IS NULL OR NOT %(only_open)s::boolean)
ORDER BY f.id DESC LIMIT %(limit)s;

-- name: count_open
SELECT count(*) AS flags FROM flags WHERE project_id = %(project_id)s AND resolved_at IS NULL;

-- name: resolve
UPDATE flags SET resolved_at = clock_timestamp(), resolved_by = %(actor)s
WHERE project_id = %(project_id)s AND id = %(id)s AND resolved_at IS NULL
RETURNING id;

-- name: get_flag
SELECT id FROM flags WHERE project_id = %(project_id)s AND id = %(id)s;
