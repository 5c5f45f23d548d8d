-- name: newest
-- The map that was asked for last, however it stands.
SELECT * FROM jobs WHERE project_id = %(project_id)s AND kind = 'map' ORDER BY id DESC LIMIT 1;

-- name: newest_drawn
-- The newest map that can be looked at: retention deletes a map with its model.
SELECT j.id, j.fence, j.result, j.finished_at, c.id AS checkpoint_id, c.key, r.number
FROM jobs j JOIN checkpoints c ON c.id = (j.payload ->> 'checkpoint_id')::bigint JOIN rounds r ON r.id = c.round_id
WHERE j.project_id = %(project_id)s AND j.kind = 'map' AND j.state = 'done' AND c.weights_retired_at IS NULL
ORDER BY j.id DESC LIMIT 1;

-- name: asked_of
-- How often a map of this model was asked for.
SELECT count(*) AS asked FROM jobs
WHERE project_id = %(project_id)s AND kind = 'map' AND payload ->> 'checkpoint_id' = %(checkpoint_id)s::bigint::text;

-- name: count_pool
SELECT count(*) AS images FROM images WHERE project_id = %(project_id)s AND split = 'pool' AND state = 'ready';

-- name: sample
-- Every image of the pool up to the limit, else those that people have labelled and a random sample of the others: the
-- same of those that were there before, however many came since.
SELECT i.id, i.shard_id, i.shard_row FROM images i LEFT JOIN labels l ON l.image_id = i.id AND l.source <> 'model'
WHERE i.project_id = %(project_id)s AND i.split = 'pool' AND i.state = 'ready'
ORDER BY l.image_id IS NULL, hashint8extended(i.id, %(seed)s), i.id LIMIT %(most)s;

-- name: labels_of
-- The labels that these images have now, and the round that each was asked or given in.
SELECT l.image_id, c.position, l.source, coalesce(asked.number, made.number) AS round
FROM labels l JOIN classes c ON c.id = l.class_id
LEFT JOIN annotations a ON a.id = l.annotation_id
LEFT JOIN tasks t ON t.id = a.task_id
LEFT JOIN rounds asked ON asked.id = t.round_id
LEFT JOIN checkpoints k ON k.id = l.checkpoint_id
LEFT JOIN rounds made ON made.id = k.round_id
WHERE l.project_id = %(project_id)s AND l.image_id = ANY (%(ids)s::bigint[]);
