-- name: lock_names
-- Two who make a key at once must not both be the second.
SELECT pg_advisory_xact_lock(hashtext('winnow.keys'), hashtext(%(name)s)) AS locked;

-- name: live_of_name
SELECT count(*) AS live FROM api_keys
WHERE name = %(name)s AND project_id IS NOT DISTINCT FROM %(project_id)s AND user_id IS NOT DISTINCT FROM %(user_id)s
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: listed
-- Of a project, or all; live ones first, then the newest.
SELECT k.*, u.display_name AS acts_as, p.name AS project_name, c.display_name AS made_by
FROM api_keys k LEFT JOIN users u ON u.id = k.user_id LEFT JOIN projects p ON p.id = k.project_id
     LEFT JOIN users c ON c.id = k.created_by
WHERE %(project_id)s::bigint IS NULL OR k.project_id = %(project_id)s
ORDER BY k.revoked_at IS NOT NULL, k.name, k.id DESC LIMIT 500;

-- name: live
SELECT * FROM api_keys
WHERE prefix = %(prefix)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
  AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s);
