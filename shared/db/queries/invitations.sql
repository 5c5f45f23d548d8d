-- name: insert
INSERT INTO invitations (token_sha256, note, project_id, role, is_admin, created_by, expires_at)
VALUES (%(token_sha256)s, %(note)s, %(project_id)s, %(role)s, %(is_admin)s, %(created_by)s, %(expires_at)s)
RETURNING *;

-- name: live
-- Locked, so that a link makes one user however often it is followed at once.
SELECT i.*, p.name AS project_name FROM invitations i LEFT JOIN projects p ON p.id = i.project_id
WHERE i.token_sha256 = %(token_sha256)s AND i.used_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now()
FOR UPDATE OF i;

-- name: use
UPDATE invitations SET used_at = now(), used_by = %(user_id)s WHERE id = %(id)s RETURNING id;

-- name: revoke
UPDATE invitations SET revoked_at = now()
WHERE id = %(id)s AND project_id IS NOT DISTINCT FROM %(project_id)s AND used_at IS NULL AND revoked_at IS NULL
RETURNING *;

-- name: of_project
-- Of a project, or of none: the newest first.
SELECT i.*, u.display_name AS used_by_name, c.display_name AS created_by_name
FROM invitations i LEFT JOIN users u ON u.id = i.used_by LEFT JOIN users c ON c.id = i.created_by
WHERE i.project_id IS NOT DISTINCT FROM %(project_id)s
ORDER BY i.id DESC LIMIT 100;
