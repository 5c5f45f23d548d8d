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
  AND NOT EXISTS (
      SELECT 1 FROM questions q
      WHERE q.image_id = i.id AND q.state IN ('asking', 'disagreed')
        AND NOT EXISTS (SELECT 1 FROM tasks a WHERE a.question_id = q.id AND a.kind = 'audit')
  )
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
-- Those that nobody holds, nor has begun to answer with others.
WITH closed AS (
    UPDATE tasks SET state = 'superseded'
    WHERE project_id = %(project_id)s AND state = 'open' AND kind = 'audit'
      AND (question_id IS NULL OR NOT EXISTS (
          SELECT 1 FROM tasks s WHERE s.question_id = tasks.question_id AND s.state IN ('leased', 'done')))
    RETURNING question_id
)
UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
WHERE id IN (SELECT question_id FROM closed) AND state = 'asking';

-- name: ask
-- A random sample of the model's labels, spread evenly between the queries, so that nobody can tell them apart, and
-- asked of as many people as those.
WITH drawn AS (
    SELECT image_id, class_id, confidence, (row_number() OVER () - 0.5) * %(spread)s / %(count)s AS priority
    FROM (
        SELECT l.image_id, l.class_id, l.confidence FROM labels l
        WHERE l.project_id = %(project_id)s AND l.source = 'model' AND l.filed_by IS NULL
          AND NOT EXISTS (SELECT 1 FROM tasks t
                          WHERE t.image_id = l.image_id AND t.state IN ('open', 'leased', 'skipped'))
          AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = l.image_id AND q.state IN ('asking', 'disagreed'))
        ORDER BY hashint8extended(l.image_id, %(seed)s), l.image_id LIMIT %(count)s
    ) AS shuffled
), asked AS (
    INSERT INTO questions (project_id, image_id, copies, most)
    SELECT %(project_id)s, image_id, %(copies)s, %(most)s FROM drawn WHERE %(copies)s > 1
    ON CONFLICT (image_id) WHERE state IN ('asking', 'disagreed') DO NOTHING
    RETURNING id, image_id, most
), opened AS (
    INSERT INTO tasks (project_id, round_id, image_id, kind, priority, strategy, score, model_class_id, question_id, copy,
                       most)
    SELECT %(project_id)s, %(round_id)s, d.image_id, 'audit', d.priority, 'audit', d.confidence, d.class_id, q.id, n.copy,
           q.most
    FROM drawn d
    LEFT JOIN asked q ON q.image_id = d.image_id
    CROSS JOIN generate_series(0, %(copies)s - 1) AS n (copy)
    WHERE %(copies)s = 1 OR q.id IS NOT NULL
    ORDER BY d.priority, n.copy
    ON CONFLICT (image_id) WHERE state IN ('open', 'leased') AND question_id IS NULL AND kind <> 'gold' DO NOTHING
    RETURNING image_id
)
SELECT count(DISTINCT image_id) AS opened FROM opened;

-- name: count_audits
-- Images asked about since an audit failed, or ever. A question's copies are one, by the first of them.
SELECT count(*) AS asked, coalesce(max(last), 0) AS last_task FROM (
    SELECT min(id) AS first, max(id) AS last FROM tasks
    WHERE project_id = %(project_id)s AND kind = 'audit'
    GROUP BY question_id, CASE WHEN question_id IS NULL THEN id END
    HAVING bool_or(state IN ('open', 'leased', 'done'))
) AS audits
WHERE first > %(after)s;

-- name: answers
-- In the order in which they came: whether people said what the model had said. Of several people's it is what the
-- question came to, by their answers or by a reviewer.
SELECT confirmed FROM (
    SELECT a.id AS at, a.class_id = t.model_class_id AS confirmed FROM tasks t
    JOIN annotations a ON a.task_id = t.id AND a.undone_at IS NULL
    WHERE t.project_id = %(project_id)s AND t.kind = 'audit' AND t.id > %(after)s AND t.question_id IS NULL
    UNION ALL
    SELECT l.annotation_id, l.class_id = t.model_class_id
    FROM (
        SELECT question_id, min(model_class_id) AS model_class_id FROM tasks
        WHERE project_id = %(project_id)s AND kind = 'audit' AND question_id IS NOT NULL
        GROUP BY question_id HAVING min(id) > %(after)s
    ) AS t
    JOIN questions q ON q.id = t.question_id AND q.state IN ('resolved', 'adjudicated')
    JOIN labels l ON l.image_id = q.image_id AND l.source IN ('human', 'consensus')
) AS told
ORDER BY at;
