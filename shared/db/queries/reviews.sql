-- name: labelled
-- Images that people have labelled and a model can see, in order of id, as columns: a row each would take a second for a
-- hundred thousand. ``only``: of these images; null: of all.
SELECT coalesce(array_agg(image_id), '{}') AS images, coalesce(array_agg(position), '{}') AS positions,
       coalesce(array_agg(shard_id), '{}') AS shards, coalesce(array_agg(shard_row), '{}') AS shard_rows
FROM (
    SELECT l.image_id, c.position, i.shard_id, i.shard_row
    FROM labels l JOIN images i ON i.id = l.image_id JOIN classes c ON c.id = l.class_id
    WHERE l.project_id = %(project_id)s AND l.source <> 'model' AND i.state = 'ready' AND i.shard_id IS NOT NULL
      AND (%(only)s::bigint[] IS NULL OR l.image_id = ANY (%(only)s::bigint[]))
    ORDER BY l.image_id
) AS found;

-- name: newest_model
SELECT * FROM checkpoints WHERE project_id = %(project_id)s AND weights_retired_at IS NULL ORDER BY id DESC LIMIT 1;

-- name: looked_at
-- Images whose label somebody has looked at again, and that has stood since.
SELECT DISTINCT r.image_id FROM reviews r JOIN labels l ON l.image_id = r.image_id AND l.class_id = r.class_id
WHERE r.project_id = %(project_id)s AND r.undone_at IS NULL;

-- name: said_before
-- The same request, heard before.
SELECT image_id, class_id, annotation_id IS NOT NULL AS corrected FROM reviews
WHERE user_id = %(user_id)s AND idempotency_key = %(key)s AND project_id = %(project_id)s;

-- name: add
-- Images of this project that can be seen, each with the label that it has now.
INSERT INTO reviews (project_id, image_id, user_id, class_id, idempotency_key, replaced)
SELECT i.project_id, i.id, %(user_id)s, c.id, %(key)s, to_jsonb(l)
FROM unnest(%(image_ids)s::bigint[], %(class_ids)s::bigint[]) AS said (image_id, class_id)
JOIN images i ON i.id = said.image_id AND i.project_id = %(project_id)s AND i.state <> 'unreadable'
JOIN classes c ON c.id = said.class_id AND c.project_id = i.project_id
LEFT JOIN labels l ON l.image_id = i.id
RETURNING image_id, class_id, (replaced ->> 'class_id')::bigint AS was, replaced ->> 'source' AS source;

-- name: corrected
-- Which answers the corrections became.
UPDATE reviews r SET annotation_id = l.annotation_id FROM labels l
WHERE r.user_id = %(user_id)s AND r.idempotency_key = %(key)s AND r.image_id = ANY (%(image_ids)s::bigint[])
  AND l.image_id = r.image_id;

-- name: undo
UPDATE reviews SET undone_at = clock_timestamp()
WHERE project_id = %(project_id)s AND user_id = %(user_id)s AND idempotency_key = %(key)s AND undone_at IS NULL
RETURNING image_id, annotation_id;

-- name: bring_back
-- The labels that corrections replaced, where the correction is still what labels the image.
UPDATE labels l SET class_id = b.class_id, source = b.source, annotation_id = b.annotation_id,
    checkpoint_id = b.checkpoint_id, confidence = b.confidence, question_id = b.question_id, created_at = b.created_at
FROM reviews r, jsonb_populate_record(NULL::labels, r.replaced) AS b
WHERE r.project_id = %(project_id)s AND r.user_id = %(user_id)s AND r.idempotency_key = %(key)s
  AND r.replaced IS NOT NULL AND l.image_id = r.image_id AND l.annotation_id = r.annotation_id
RETURNING l.image_id;

-- name: take_away
-- The labels of corrections of what had none.
DELETE FROM labels l USING reviews r
WHERE r.project_id = %(project_id)s AND r.user_id = %(user_id)s AND r.idempotency_key = %(key)s
  AND r.replaced IS NULL AND l.image_id = r.image_id AND l.annotation_id = r.annotation_id
RETURNING l.image_id;

-- name: withdraw
-- The answers of corrections that were taken back, and the questions that they made.
WITH gone AS (
    UPDATE annotations SET undone_at = clock_timestamp()
    WHERE id = ANY (%(annotation_ids)s::bigint[]) AND undone_at IS NULL RETURNING task_id
)
UPDATE tasks t SET state = 'superseded' FROM gone WHERE t.id = gone.task_id;
