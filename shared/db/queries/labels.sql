-- name: put_label
-- The newest answer is the label.
INSERT INTO labels (image_id, project_id, class_id, source, annotation_id, checkpoint_id, confidence, question_id)
VALUES (%(image_id)s, %(project_id)s, %(class_id)s, %(source)s, %(annotation_id)s, NULL, %(confidence)s::real,
        %(question_id)s::bigint)
ON CONFLICT (image_id) DO UPDATE SET class_id = excluded.class_id, source = excluded.source,
    annotation_id = excluded.annotation_id, checkpoint_id = NULL, confidence = excluded.confidence,
    question_id = excluded.question_id, filed_by = NULL, created_at = now();

-- name: delete_label_by
-- What a question's answers gave.
DELETE FROM labels WHERE question_id = %(question_id)s AND source = 'consensus';

-- name: delete_label_of
DELETE FROM labels WHERE annotation_id = %(annotation_id)s;

-- name: is_from
SELECT EXISTS (SELECT 1 FROM labels WHERE annotation_id = %(annotation_id)s) AS found;

-- name: import_labels
-- Known labels of images already there, by digest. A human's label is never overwritten, the model's always.
INSERT INTO labels (image_id, project_id, class_id, source)
SELECT i.id, i.project_id, k.class_id, 'import'
FROM (SELECT DISTINCT ON (sha256) sha256, class_id
      FROM unnest(%(sha256s)s::text[], %(class_ids)s::bigint[]) AS given (sha256, class_id)) AS k
JOIN images i ON i.project_id = %(project_id)s AND i.sha256 = decode(k.sha256, 'hex')
ON CONFLICT (image_id) DO UPDATE SET class_id = excluded.class_id, source = 'import', checkpoint_id = NULL,
    confidence = NULL, question_id = NULL, filed_by = NULL, created_at = now()
    WHERE labels.source IN ('import', 'model')
RETURNING image_id;

-- name: close_tasks_of
-- Questions that an import has answered.
WITH closed AS (
    UPDATE tasks SET state = 'superseded', lease_until = NULL, holder = NULL
    WHERE image_id = ANY (%(image_ids)s::bigint[]) AND state IN ('open', 'leased') AND kind <> 'gold'
)
UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
WHERE image_id = ANY (%(image_ids)s::bigint[]) AND state IN ('asking', 'disagreed');

-- name: seen_at
SELECT clock_timestamp() AS now;

-- name: read_at
SELECT now() AS now;

-- name: examples
-- What people said: a model never learns from its own labels.
-- at_random: asked at random, and no matter what the model said of it.
SELECT i.id, i.shard_id, i.shard_row, c.position,
       coalesce(t.strategy = 'random' AND t.kind = 'query', false) AS at_random
FROM labels l JOIN images i ON i.id = l.image_id JOIN classes c ON c.id = l.class_id
LEFT JOIN annotations a ON a.id = l.annotation_id
LEFT JOIN tasks t ON t.id = a.task_id
WHERE l.project_id = %(project_id)s AND l.source <> 'model' AND i.split = %(split)s AND i.state = 'ready'
ORDER BY i.id;

-- name: count_labels
-- People's, but for the last: how many the model gave.
SELECT count(*) FILTER (WHERE i.split = 'pool') AS pool,
       count(*) FILTER (WHERE i.split = 'pool' AND i.state = 'ready') AS trainable,
       count(*) FILTER (WHERE i.split = 'holdout') AS holdout,
       count(*) FILTER (WHERE l.source IN ('human', 'consensus')) AS human,
       (SELECT count(*) FROM annotations a WHERE a.project_id = %(project_id)s AND a.undone_at IS NULL) AS answers,
       (SELECT count(*) FROM labels m WHERE m.project_id = %(project_id)s AND m.source = 'model') AS model
FROM labels l JOIN images i ON i.id = l.image_id WHERE l.project_id = %(project_id)s AND l.source <> 'model';

-- name: count_new
-- People's labels on pool images since a moment; stops counting at what is enough to know.
SELECT count(*) AS new FROM (
    SELECT 1 FROM labels l JOIN images i ON i.id = l.image_id
    WHERE l.project_id = %(project_id)s AND l.source <> 'model' AND l.created_at >= %(since)s AND i.split = 'pool'
    LIMIT %(enough)s
) AS counted;

-- name: count_random
SELECT count(*) AS drawn FROM labels l
JOIN annotations a ON a.id = l.annotation_id
JOIN tasks t ON t.id = a.task_id AND t.strategy = 'random' AND t.kind = 'query'
WHERE l.project_id = %(project_id)s AND l.source <> 'model';

-- name: unlabelled_holdout
SELECT i.id FROM images i
WHERE i.project_id = %(project_id)s AND i.split = 'holdout' AND i.state <> 'unreadable'
  AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.id)
  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = i.id AND t.state IN ('open', 'leased', 'skipped'))
  AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = i.id AND q.state IN ('asking', 'disagreed'))
ORDER BY i.id;

-- name: by_class
-- People's.
SELECT c.id AS class_id, c.name, count(l.image_id) AS labels
FROM classes c
LEFT JOIN labels l ON l.class_id = c.id AND l.project_id = c.project_id AND l.source <> 'model'
WHERE c.project_id = %(project_id)s GROUP BY c.id ORDER BY c.position;

-- name: of_image
SELECT l.class_id, c.name, l.source, l.created_at FROM labels l JOIN classes c ON c.id = l.class_id
WHERE l.image_id = %(image_id)s;

-- name: export
-- Every image of a project, or those named, with its label, if any, and where the label comes from.
SELECT i.id, encode(i.sha256, 'hex') AS sha256, i.filename, i.format, i.width, i.height, i.split, i.state,
       i.shard_id, i.shard_row, i.bytes, c.name AS label, l.source, l.created_at AS labelled_at, u.username AS annotator,
       t.strategy, coalesce(r.number, m.number) AS round, l.confidence AS label_confidence,
       CASE WHEN l.question_id IS NOT NULL THEN (
           SELECT json_agg(json_build_array(w.username, s.name) ORDER BY g.id)
           FROM annotations g JOIN users w ON w.id = g.user_id JOIN classes s ON s.id = g.class_id
           WHERE g.image_id = i.id AND g.undone_at IS NULL AND (g.question_id = l.question_id OR g.id = l.annotation_id)
       ) WHEN a.id IS NOT NULL THEN json_build_array(json_build_array(u.username, c.name)) END AS annotations,
       (SELECT array_agg(x.name ORDER BY x.folded) FROM image_tags y JOIN tags x ON x.id = y.tag_id
        WHERE y.image_id = i.id) AS tags
FROM images i
LEFT JOIN labels l ON l.image_id = i.id
LEFT JOIN classes c ON c.id = l.class_id
LEFT JOIN annotations a ON a.id = l.annotation_id
LEFT JOIN users u ON u.id = a.user_id
LEFT JOIN tasks t ON t.id = a.task_id
LEFT JOIN rounds r ON r.id = t.round_id
LEFT JOIN checkpoints k ON k.id = l.checkpoint_id
LEFT JOIN rounds m ON m.id = k.round_id
WHERE i.project_id = %(project_id)s AND (%(ids)s::bigint[] IS NULL OR i.id = ANY (%(ids)s::bigint[]))
ORDER BY i.id;
