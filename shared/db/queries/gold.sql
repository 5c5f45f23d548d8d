-- name: least_asked
-- Those that the fewest people were asked about, in random order, and that nobody is asked about now.
SELECT g.image_id FROM gold g JOIN images i ON i.id = g.image_id
WHERE g.project_id = %(project_id)s AND i.state <> 'unreadable'
  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = g.image_id AND t.kind = 'gold' AND t.state = 'open')
ORDER BY (SELECT count(*) FROM tasks t WHERE t.image_id = g.image_id AND t.kind = 'gold' AND t.state = 'done'),
         hashint8extended(g.image_id, %(seed)s), g.image_id
LIMIT %(count)s;

-- name: mark
-- By the label that a person gave or an import brought; what the model said proves nothing.
INSERT INTO gold (image_id, project_id, class_id, actor)
SELECT l.image_id, l.project_id, l.class_id, %(actor)s FROM labels l JOIN images i ON i.id = l.image_id
WHERE l.project_id = %(project_id)s AND l.image_id = ANY (%(image_ids)s::bigint[]) AND l.source <> 'model'
  AND i.state <> 'unreadable'
ON CONFLICT (image_id) DO UPDATE SET class_id = excluded.class_id, actor = excluded.actor, created_at = now()
RETURNING image_id;

-- name: unmark
DELETE FROM gold WHERE project_id = %(project_id)s AND image_id = ANY (%(image_ids)s::bigint[]) RETURNING image_id;

-- name: close_open_of
UPDATE tasks SET state = 'superseded'
WHERE image_id = ANY (%(image_ids)s::bigint[]) AND kind = 'gold' AND state = 'open';

-- name: page
-- In order of id, each with how it was answered.
SELECT g.image_id, c.id AS class_id, c.name, g.actor, g.created_at, count(a.id) AS answers,
       count(a.id) FILTER (WHERE a.class_id = g.class_id) AS right
FROM gold g JOIN classes c ON c.id = g.class_id
LEFT JOIN tasks t ON t.image_id = g.image_id AND t.kind = 'gold' AND t.state IN ('done', 'superseded')
     AND t.strategy <> 'asked_again'
LEFT JOIN annotations a ON a.task_id = t.id AND (a.undone_at IS NULL OR EXISTS (
    SELECT 1 FROM batch_verdicts v WHERE v.annotation_id = a.id AND v.verdict = 'rejected'))
WHERE g.project_id = %(project_id)s AND g.image_id > %(after)s
GROUP BY g.image_id, c.id ORDER BY g.image_id LIMIT %(limit)s;

-- name: of_image
SELECT g.image_id, c.id AS class_id, c.name, g.actor, g.created_at, count(a.id) AS answers,
       count(a.id) FILTER (WHERE a.class_id = g.class_id) AS right
FROM gold g JOIN classes c ON c.id = g.class_id
LEFT JOIN tasks t ON t.image_id = g.image_id AND t.kind = 'gold' AND t.state = 'done'
LEFT JOIN annotations a ON a.task_id = t.id AND a.undone_at IS NULL
WHERE g.image_id = %(image_id)s
GROUP BY g.image_id, c.id;

-- name: count
SELECT count(*) AS images FROM gold WHERE project_id = %(project_id)s;
