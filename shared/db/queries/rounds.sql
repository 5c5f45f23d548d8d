-- name: insert_round
INSERT INTO rounds (project_id, number, state, labels)
VALUES (%(project_id)s, %(number)s, %(state)s, %(labels)s)
RETURNING *;

-- name: latest
SELECT r.*, c.id AS checkpoint_id FROM rounds r LEFT JOIN checkpoints c ON c.round_id = r.id
WHERE r.project_id = %(project_id)s ORDER BY r.number DESC LIMIT 1;

-- name: list_rounds
SELECT r.*, c.id AS checkpoint_id FROM rounds r LEFT JOIN checkpoints c ON c.round_id = r.id
WHERE r.project_id = %(project_id)s ORDER BY r.number;

-- name: set_state
UPDATE rounds SET state = %(state)s,
    finished_at = CASE WHEN %(state)s = 'done' THEN clock_timestamp() END
WHERE id = %(id)s;

-- name: set_evidence
UPDATE rounds SET evidence = %(evidence)s::jsonb WHERE id = %(id)s;

-- name: latest_evidence
SELECT number, evidence FROM rounds WHERE project_id = %(project_id)s AND evidence IS NOT NULL
ORDER BY number DESC LIMIT 1;

-- name: all_evidence
SELECT number, evidence FROM rounds WHERE project_id = %(project_id)s AND evidence IS NOT NULL ORDER BY number;

-- name: kappas
-- Agreement of each round's model with the one before, the newest first.
SELECT (evidence -> 'pool' ->> 'kappa')::double precision AS kappa FROM rounds
WHERE project_id = %(project_id)s AND number < %(before)s AND evidence IS NOT NULL
ORDER BY number DESC LIMIT %(limit)s;

-- name: set_labels
UPDATE rounds SET labels = %(labels)s, labels_at = %(labels_at)s WHERE id = %(id)s;

-- name: select_again
-- Another selection within the same round; the number tells its job from the one before.
UPDATE rounds SET state = 'selecting', attempt = attempt + 1 WHERE id = %(id)s RETURNING attempt;

-- name: insert_checkpoint
INSERT INTO checkpoints (project_id, round_id, key, sha256, arch, data_version, metrics)
VALUES (%(project_id)s, %(round_id)s, %(key)s, decode(%(sha256)s, 'hex'), %(arch)s, %(data_version)s,
        %(metrics)s::jsonb)
RETURNING *;

-- name: get_checkpoint
SELECT * FROM checkpoints WHERE id = %(id)s;

-- name: list_checkpoints
SELECT c.*, r.number, r.labels FROM checkpoints c JOIN rounds r ON r.id = c.round_id
WHERE c.project_id = %(project_id)s ORDER BY c.id;

-- name: serving
-- The model in use: the one that was promoted last, else the newest whose probabilities are complete.
SELECT c.*, r.number FROM checkpoints c JOIN rounds r ON r.id = c.round_id
WHERE c.project_id = %(project_id)s AND c.weights_retired_at IS NULL
  AND (c.promoted_at IS NOT NULL OR c.scored_at IS NOT NULL)
ORDER BY c.promoted_at DESC NULLS LAST, c.id DESC LIMIT 1;

-- name: mark_scored
UPDATE checkpoints SET scored_at = clock_timestamp() WHERE id = %(id)s;

-- name: scored_before
SELECT * FROM checkpoints
WHERE project_id = %(project_id)s AND id < %(id)s AND scored_at IS NOT NULL AND scores_retired_at IS NULL
ORDER BY id DESC LIMIT 1;

-- name: latest_scored
SELECT * FROM checkpoints
WHERE project_id = %(project_id)s AND scored_at IS NOT NULL AND scores_retired_at IS NULL
ORDER BY id DESC LIMIT 1;

-- name: promote
-- The same row is what retention marks: whichever comes first, the other sees it.
UPDATE checkpoints SET promoted_at = clock_timestamp()
WHERE id = %(id)s AND project_id = %(project_id)s AND weights_retired_at IS NULL
RETURNING *;

-- name: promoted
SELECT * FROM checkpoints WHERE project_id = %(project_id)s AND promoted_at IS NOT NULL
ORDER BY promoted_at DESC, id DESC LIMIT 1;

-- name: demote
UPDATE checkpoints SET promoted_at = NULL WHERE id = %(id)s;
