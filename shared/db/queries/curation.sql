-- name: close_live
-- Whoever holds one of these hears of it when they answer. Before the label is touched: answers take their locks in
-- this order, too.
WITH closed AS (
    UPDATE tasks SET state = 'superseded', lease_until = NULL, holder = NULL
    WHERE project_id = %(project_id)s AND image_id = ANY (%(ids)s::bigint[]) AND state IN ('open', 'leased')
      AND kind <> 'gold'
)
UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
WHERE project_id = %(project_id)s AND image_id = ANY (%(ids)s::bigint[]) AND state IN ('asking', 'disagreed');

-- name: correct
-- A correction is an answer to a question of its own, so that it says whose it is like every other label by a person.
-- Images that this class was given by a person already are left alone.
WITH chosen AS (
    SELECT i.id, i.split FROM images i LEFT JOIN labels l ON l.image_id = i.id
    WHERE i.project_id = %(project_id)s AND i.id = ANY (%(ids)s::bigint[])
      AND (l.class_id IS DISTINCT FROM %(class_id)s OR l.source <> 'human')
), asked AS (
    INSERT INTO tasks (project_id, image_id, kind, state, priority, holder, strategy)
    SELECT %(project_id)s, id, CASE split WHEN 'holdout' THEN 'holdout' ELSE 'query' END, 'done', 0, %(user_id)s,
           'correction'
    FROM chosen
    RETURNING id, image_id
), answered AS (
    INSERT INTO annotations (task_id, image_id, project_id, user_id, class_id, idempotency_key, fence, suggested)
    SELECT id, image_id, %(project_id)s, %(user_id)s, %(class_id)s, 'correction:' || id, 0, %(suggested)s::bigint FROM asked
    RETURNING id, image_id
)
INSERT INTO labels (image_id, project_id, class_id, source, annotation_id)
SELECT image_id, %(project_id)s, %(class_id)s, 'human', id FROM answered
ON CONFLICT (image_id) DO UPDATE SET class_id = excluded.class_id, source = excluded.source,
    annotation_id = excluded.annotation_id, checkpoint_id = NULL, confidence = NULL, question_id = NULL,
    filed_by = NULL, created_at = now()
RETURNING image_id;

-- name: remove_labels
DELETE FROM labels WHERE project_id = %(project_id)s AND image_id = ANY (%(ids)s::bigint[]) RETURNING image_id;

-- name: withdraw_disputes
-- People disagreed, and are to be asked anew.
UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
WHERE project_id = %(project_id)s AND image_id = ANY (%(ids)s::bigint[]) AND state = 'disagreed';

-- name: readable
SELECT id AS image_id, split FROM images
WHERE project_id = %(project_id)s AND id = ANY (%(ids)s::bigint[]) AND state <> 'unreadable' ORDER BY id;

-- name: move
UPDATE images SET split = %(split)s
WHERE project_id = %(project_id)s AND id = ANY (%(ids)s::bigint[]) AND split <> %(split)s
RETURNING id AS image_id;
