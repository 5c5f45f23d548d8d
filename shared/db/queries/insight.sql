-- name: first_and_last
-- When labels were given. Both ends of labels_project: two rows are read, however many there are.
SELECT (SELECT created_at FROM labels WHERE project_id = %(project_id)s ORDER BY created_at LIMIT 1) AS first,
       (SELECT created_at FROM labels WHERE project_id = %(project_id)s ORDER BY created_at DESC LIMIT 1) AS last;

-- name: growth
-- Labels as they stand, by source and by which of ``steps`` equal spans of time they were given in, from 1.
SELECT source, count(*) AS labels,
       least(width_bucket(extract(epoch FROM created_at), extract(epoch FROM %(first)s::timestamptz),
                          extract(epoch FROM %(last)s::timestamptz), %(steps)s), %(steps)s) AS step
FROM labels WHERE project_id = %(project_id)s GROUP BY source, step;

-- name: pace
-- The newest labels by people, and in how many spans of five minutes they were given. From labels_people.
SELECT count(*) AS labels, count(DISTINCT date_bin('5 minutes', created_at, 'epoch'::timestamptz)) AS spans
FROM (
    SELECT created_at FROM labels
    WHERE project_id = %(project_id)s AND source <> 'model' AND source <> 'import'
      AND created_at > clock_timestamp() - interval '14 days'
    ORDER BY created_at DESC LIMIT %(limit)s
) AS newest;

-- name: answers
-- All that were given and stand: what people are paid for.
SELECT count(*) AS answers FROM annotations WHERE project_id = %(project_id)s AND undone_at IS NULL;

-- name: ends
SELECT min(id) AS first, max(id) AS last FROM images WHERE project_id = %(project_id)s;

-- name: from_places
-- The images at these ids or next after them: a step in images_page for each.
SELECT DISTINCT i.id
FROM unnest(%(places)s::bigint[]) AS place
CROSS JOIN LATERAL (
    SELECT id FROM images WHERE project_id = %(project_id)s AND id >= place ORDER BY id LIMIT 1
) AS i;

-- name: unanswered
-- Which of these rows of a shard are images of the pool that no person has labelled.
SELECT i.id, i.shard_row FROM images i
WHERE i.shard_id = %(shard_id)s AND i.shard_row = ANY (%(rows)s::int[]) AND i.split = 'pool' AND i.state = 'ready'
  AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.id AND l.source <> 'model');

-- name: labels_of
SELECT image_id, class_id, source FROM labels WHERE image_id = ANY (%(ids)s::bigint[]);

-- name: holdout
-- What is measured on, with its truth as it is now. From images_holdout.
SELECT i.id, i.shard_id, i.shard_row, c.position FROM images i
JOIN labels l ON l.image_id = i.id JOIN classes c ON c.id = l.class_id
WHERE i.project_id = %(project_id)s AND i.split = 'holdout' AND i.state = 'ready' AND l.source <> 'model'
ORDER BY i.id;

-- name: models
-- All checkpoints, the newest first, without what is large of their metrics.
SELECT c.id, c.arch, c.created_at, c.scored_at, c.promoted_at, c.weights_retired_at, c.scores_retired_at, c.key,
       r.number, r.labels, (c.metrics ->> 'accuracy')::double precision AS accuracy,
       (c.metrics ->> 'accuracy_low')::double precision AS low, (c.metrics ->> 'accuracy_high')::double precision AS high,
       (c.metrics ->> 'n')::int AS n, (c.metrics ->> 'macro_f1')::double precision AS macro_f1
FROM checkpoints c JOIN rounds r ON r.id = c.round_id
WHERE c.project_id = %(project_id)s ORDER BY c.id DESC;
