-- name: surplus_scores
-- Checkpoints whose scores nothing will read: all but the newest one and the newest that are scored throughout.
SELECT c.id, c.project_id, c.key FROM checkpoints c
WHERE c.scores_retired_at IS NULL
  AND c.id <> (SELECT max(n.id) FROM checkpoints n WHERE n.project_id = c.project_id)
  AND c.id NOT IN (
      SELECT s.id FROM checkpoints s WHERE s.project_id = c.project_id AND s.scored_at IS NOT NULL
      ORDER BY s.id DESC LIMIT %(keep)s
  )
  AND NOT EXISTS (
      SELECT 1 FROM jobs j
      WHERE j.round_id = c.round_id AND j.kind IN ('score', 'select', 'map') AND j.state IN ('queued', 'running')
  )
ORDER BY c.id;

-- name: surplus_weights
-- Models that are neither among the newest, nor the best on the holdout, nor promoted, nor what a label came from, nor at
-- work.
SELECT c.id, c.project_id, c.key FROM checkpoints c
WHERE c.weights_retired_at IS NULL AND c.promoted_at IS NULL
  AND c.id NOT IN (
      SELECT n.id FROM checkpoints n WHERE n.project_id = c.project_id ORDER BY n.id DESC LIMIT %(keep)s
  )
  AND c.id IS DISTINCT FROM (
      SELECT b.id FROM checkpoints b
      WHERE b.project_id = c.project_id AND jsonb_typeof(b.metrics -> 'accuracy') = 'number'
        AND b.weights_retired_at IS NULL
      ORDER BY (b.metrics ->> 'accuracy')::double precision DESC, b.id DESC LIMIT 1
  )
  AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.checkpoint_id = c.id)
  AND NOT EXISTS (
      SELECT 1 FROM jobs j
      WHERE j.round_id = c.round_id AND j.kind IN ('score', 'select', 'map') AND j.state IN ('queued', 'running')
  )
ORDER BY c.id;

-- name: retire_scores
UPDATE checkpoints SET scores_retired_at = clock_timestamp()
WHERE id = ANY (%(ids)s::bigint[]) AND scores_retired_at IS NULL;

-- name: retire_weights
UPDATE checkpoints SET weights_retired_at = clock_timestamp()
WHERE id = ANY (%(ids)s::bigint[]) AND weights_retired_at IS NULL AND promoted_at IS NULL;

-- name: retired_scores
-- Marked, and not known to be gone: also those at which a process died.
SELECT id, project_id, key FROM checkpoints
WHERE scores_retired_at IS NOT NULL AND scores_deleted_at IS NULL ORDER BY id;

-- name: retired_weights
SELECT id, project_id, key FROM checkpoints
WHERE weights_retired_at IS NOT NULL AND weights_deleted_at IS NULL ORDER BY id;

-- name: scores_deleted
UPDATE checkpoints SET scores_deleted_at = clock_timestamp() WHERE id = %(id)s;

-- name: weights_deleted
UPDATE checkpoints SET weights_deleted_at = clock_timestamp() WHERE id = %(id)s;

-- name: ended_attempts
-- Of these keys of attempts at a training, those of which no checkpoint came and none can: their job has ended.
SELECT a.key FROM unnest(%(keys)s::text[], %(job_ids)s::bigint[]) AS a (key, job_id)
JOIN jobs j ON j.id = a.job_id AND j.state IN ('done', 'dead', 'cancelled')
WHERE NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.key = a.key);

-- name: shards_at_rest
-- Whether nothing is at work on a project's packs, nor about to be.
SELECT NOT EXISTS (
    SELECT 1 FROM jobs
    WHERE project_id = %(project_id)s AND state IN ('queued', 'running')
      AND kind NOT IN ('predict', 'export')
) AS at_rest;

-- name: delete_predictions
-- The rows of predictions that ended long ago. Unlike other jobs they come as often as somebody asks.
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs
    WHERE kind = 'predict' AND state IN ('done', 'dead', 'cancelled')
      AND finished_at < clock_timestamp() - make_interval(secs => %(keep_s)s)
    ORDER BY finished_at LIMIT %(most)s
);

-- name: predictions_under_way
SELECT payload ->> 'name' AS name FROM jobs
WHERE kind = 'predict' AND finished_at IS NULL AND project_id = %(project_id)s AND state IN ('queued', 'running');

-- name: moment_before
SELECT clock_timestamp() - make_interval(secs => %(seconds)s) AS moment;
