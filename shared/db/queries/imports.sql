-- name: announce
INSERT INTO imports (project_id, actor, split, expected)
VALUES (%(project_id)s, %(actor)s, %(split)s, %(expected)s)
RETURNING *;

-- name: add
-- To the import that was announced, else to the one that the same sender was busy with a moment ago.
UPDATE imports SET stored = stored + %(stored)s, duplicates = duplicates + %(duplicates)s,
    rejected = rejected + %(rejected)s, heard_at = now(),
    rejects = CASE WHEN jsonb_array_length(rejects) < %(most)s THEN rejects || %(rejects)s::jsonb ELSE rejects END
WHERE project_id = %(project_id)s AND id = (
    SELECT id FROM imports
    WHERE project_id = %(project_id)s AND actor = %(actor)s AND split = %(split)s AND ended_at IS NULL
      AND CASE WHEN %(part_of)s::bigint IS NOT NULL THEN id = %(part_of)s::bigint
          ELSE expected IS NULL AND heard_at > now() - make_interval(secs => %(patience_s)s) END
    ORDER BY id DESC LIMIT 1
)
RETURNING id;

-- name: insert_heard
INSERT INTO imports (project_id, actor, split, stored, duplicates, rejected, rejects)
VALUES (%(project_id)s, %(actor)s, %(split)s, %(stored)s, %(duplicates)s, %(rejected)s, %(rejects)s::jsonb)
RETURNING id;

-- name: conclude
UPDATE imports SET ended_at = now(), heard_at = now()
WHERE project_id = %(project_id)s AND id = %(id)s AND actor = %(actor)s AND ended_at IS NULL
RETURNING *;

-- name: get
SELECT * FROM imports WHERE project_id = %(project_id)s AND id = %(id)s;

-- name: page
SELECT * FROM imports WHERE project_id = %(project_id)s AND id < %(before)s ORDER BY id DESC LIMIT %(limit)s;
