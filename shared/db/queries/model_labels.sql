-- name: close_queries_of
-- Questions that the model answers now. One that is held stays, and so do an audit and what a vendor is to answer.
WITH closed AS (
    UPDATE tasks SET state = 'superseded'
    WHERE image_id = ANY (%(image_ids)s::bigint[]) AND state = 'open' AND kind = 'query' AND batch_id IS NULL
      AND (question_id IS NULL OR NOT EXISTS (
          SELECT 1 FROM tasks s WHERE s.question_id = tasks.question_id AND s.state IN ('leased', 'done')))
    RETURNING question_id
)
UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
WHERE id IN (SELECT question_id FROM closed) AND state = 'asking';

-- name: put
-- Only readable pool images that no person has labelled, nobody holds and nobody has given up on.
INSERT INTO labels (image_id, project_id, class_id, source, checkpoint_id, confidence)
SELECT i.id, i.project_id, c.id, 'model', %(checkpoint_id)s, said.confidence
FROM unnest(%(image_ids)s::bigint[], %(columns)s::int[], %(confidences)s::real[]) AS said (image_id, position, confidence)
JOIN images i ON i.id = said.image_id
JOIN classes c ON c.project_id = i.project_id AND c.position = said.position
WHERE i.project_id = %(project_id)s AND i.split = 'pool' AND i.state = 'ready'
  AND NOT EXISTS (
      SELECT 1 FROM tasks t
      WHERE t.image_id = i.id AND (t.state = 'skipped' OR (t.kind <> 'audit' AND t.state IN ('open', 'leased')))
  )
  AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = i.id AND q.state IN ('asking', 'disagreed'))
ON CONFLICT (image_id) DO UPDATE SET class_id = excluded.class_id, checkpoint_id = excluded.checkpoint_id,
    confidence = excluded.confidence, created_at = now()
    WHERE labels.source = 'model' AND labels.filed_by IS NULL;

-- name: drop_stale
-- Labels of a shard that older models gave and this one did not renew; those that somebody filed stay.
DELETE FROM labels l USING images i
WHERE i.id = l.image_id AND i.shard_id = %(shard_id)s AND l.source = 'model' AND l.filed_by IS NULL
  AND l.checkpoint_id IS DISTINCT FROM %(checkpoint_id)s;

-- name: file
-- Labels of the model that a person lets it give: readable images of the pool that have none and that nobody is being
-- asked about at this moment.
INSERT INTO labels (image_id, project_id, class_id, source, checkpoint_id, confidence, filed_by)
SELECT i.id, i.project_id, c.id, 'model', %(checkpoint_id)s, said.confidence, %(user_id)s
FROM unnest(%(image_ids)s::bigint[], %(columns)s::int[], %(confidences)s::real[]) AS said (image_id, position, confidence)
JOIN images i ON i.id = said.image_id
JOIN classes c ON c.project_id = i.project_id AND c.position = said.position
WHERE i.project_id = %(project_id)s AND i.split = 'pool' AND i.state <> 'unreadable'
  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = i.id AND t.state = 'leased')
ON CONFLICT (image_id) DO NOTHING
RETURNING image_id;

-- name: count
-- Those that are made anew by each scoring.
SELECT count(*) AS labels FROM labels WHERE project_id = %(project_id)s AND source = 'model' AND filed_by IS NULL;

-- name: there_are
SELECT EXISTS (
    SELECT 1 FROM labels WHERE project_id = %(project_id)s AND source = 'model' AND filed_by IS NULL
) AS found;

-- name: withdraw
DELETE FROM labels WHERE project_id = %(project_id)s AND source = 'model' AND filed_by IS NULL;

-- name: close_audits
UPDATE tasks SET state = 'superseded' WHERE project_id = %(project_id)s AND state = 'open' AND kind = 'audit';

-- name: ask
-- A random sample of the model's labels, spread evenly between the queries, so that nobody can tell them apart.
INSERT INTO tasks (project_id, round_id, image_id, kind, priority, strategy, score, model_class_id)
SELECT %(project_id)s, %(round_id)s, drawn.image_id, 'audit',
       (row_number() OVER () - 0.5) * %(spread)s / %(count)s, 'audit', drawn.confidence, drawn.class_id
FROM (
    SELECT l.image_id, l.class_id, l.confidence FROM labels l
    WHERE l.project_id = %(project_id)s AND l.source = 'model' AND l.filed_by IS NULL
      AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = l.image_id AND t.state IN ('open', 'leased', 'skipped'))
      AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = l.image_id AND q.state IN ('asking', 'disagreed'))
    ORDER BY hashint8extended(l.image_id, %(seed)s), l.image_id LIMIT %(count)s
) AS drawn
ON CONFLICT (image_id) WHERE state IN ('open', 'leased') AND question_id IS NULL AND kind <> 'gold' DO NOTHING;

-- name: count_audits
-- Asked since an audit failed, or ever.
SELECT count(*) AS asked, coalesce(max(id), 0) AS last_task FROM tasks
WHERE project_id = %(project_id)s AND kind = 'audit' AND id > %(after)s AND state IN ('open', 'leased', 'done');

-- name: answers
-- In the order in which they came: whether the person said what the model had said.
SELECT a.class_id = t.model_class_id AS confirmed FROM tasks t
JOIN annotations a ON a.task_id = t.id AND a.undone_at IS NULL
WHERE t.project_id = %(project_id)s AND t.kind = 'audit' AND t.id > %(after)s
ORDER BY a.id;
