-- name: projects_by_key
-- In the order in which a listing of the store has them.
SELECT id FROM projects ORDER BY id::text COLLATE "C";

-- name: images_by_key
SELECT encode(sha256, 'hex') AS sha256 FROM images WHERE project_id = %(project_id)s ORDER BY sha256;

-- name: weights_by_key
SELECT key, encode(sha256, 'hex') AS sha256 FROM checkpoints
WHERE project_id = %(project_id)s AND weights_retired_at IS NULL ORDER BY key COLLATE "C";

-- name: packs_by_key
SELECT id FROM shards WHERE project_id = %(project_id)s AND state = 'embedded' ORDER BY id::text COLLATE "C";
