-- name: of_user
SELECT * FROM memberships WHERE user_id = %(user_id)s;

-- name: of_project
-- Everybody who works in the project, the most powerful first.
SELECT m.*, u.username, u.display_name, u.disabled, u.is_admin, u.kind FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.project_id = %(project_id)s
ORDER BY array_position(ARRAY['manager', 'reviewer', 'annotator'], m.role), lower(u.display_name), u.id;

-- name: put
INSERT INTO memberships (project_id, user_id, role) VALUES (%(project_id)s, %(user_id)s, %(role)s)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = EXCLUDED.role
RETURNING *;

-- name: remove
DELETE FROM memberships WHERE project_id = %(project_id)s AND user_id = %(user_id)s RETURNING *;

-- name: pause
UPDATE memberships SET paused_at = now(), pause_reason = %(reason)s
WHERE project_id = %(project_id)s AND user_id = %(user_id)s
RETURNING *;

-- name: resume
-- What they answered before no longer counts against them.
UPDATE memberships SET paused_at = NULL, pause_reason = NULL, measured_from = clock_timestamp()
WHERE project_id = %(project_id)s AND user_id = %(user_id)s
RETURNING *;

-- name: owner_of_key
-- Whom a key acts as; the columns are those that the api may read.
SELECT id, username, display_name, disabled, is_admin, kind, vendor_id, external_id FROM users WHERE id = %(user_id)s;

-- name: may_see_image
-- An annotator sees what they hold, what they answered, and what was picked as an example of a class.
SELECT EXISTS (SELECT FROM tasks
               WHERE holder = %(user_id)s AND project_id = %(project_id)s AND state = 'leased'
                 AND image_id = %(image_id)s)
    OR EXISTS (SELECT FROM annotations WHERE image_id = %(image_id)s AND user_id = %(user_id)s)
    OR EXISTS (SELECT FROM class_examples WHERE image_id = %(image_id)s) AS found;
