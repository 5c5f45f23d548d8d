-- name: insert_project
INSERT INTO projects (name, settings) VALUES (%(name)s, %(settings)s::jsonb) RETURNING *;

-- name: insert_classes
INSERT INTO classes (project_id, position, name, colour, hotkey)
SELECT %(project_id)s, c.position, c.name, c.colour, c.hotkey
FROM unnest(%(positions)s::int[], %(names)s::text[], %(colours)s::text[], %(hotkeys)s::text[])
    AS c (position, name, colour, hotkey)
RETURNING *;

-- name: get_project
SELECT * FROM projects WHERE id = %(id)s;

-- name: get_project_for_update
-- The lock under which a project moves on. NO KEY: answers, which refer to the project, are not held up by it.
SELECT * FROM projects WHERE id = %(id)s FOR NO KEY UPDATE;

-- name: set_stream
UPDATE projects SET stream = %(stream)s::jsonb WHERE id = %(id)s;

-- name: list_projects
SELECT * FROM projects
WHERE id > %(after)s AND (%(only)s::bigint[] IS NULL OR id = ANY (%(only)s::bigint[]))
ORDER BY id LIMIT %(limit)s;

-- name: list_running
SELECT id FROM projects WHERE state = 'running' ORDER BY id;

-- name: set_state
UPDATE projects SET state = %(state)s, stop_reason = %(stop_reason)s WHERE id = %(id)s;

-- name: set_labelling_rest
UPDATE projects SET labelling_rest = %(on)s WHERE id = %(id)s;

-- name: set_audit_failed
UPDATE projects SET audit_failed = %(failed)s::jsonb WHERE id = %(id)s;

-- name: set_settings
UPDATE projects SET settings = %(settings)s::jsonb WHERE id = %(id)s RETURNING *;

-- name: list_classes
SELECT * FROM classes WHERE project_id = %(project_id)s ORDER BY position;

-- name: class_in_project
SELECT EXISTS (SELECT 1 FROM classes WHERE id = %(class_id)s AND project_id = %(project_id)s) AS found;

-- name: names
SELECT id, name FROM projects WHERE id = ANY (%(ids)s::bigint[]);

-- name: class_names
SELECT id, name FROM classes WHERE id = ANY (%(ids)s::bigint[]);

-- name: set_name
UPDATE projects SET name = %(name)s WHERE id = %(id)s;

-- name: loosen_classes
-- Names, places and keys may change hands within a project: first nobody has any.
UPDATE classes SET name = '…' || id, position = position + 1000000, hotkey = NULL WHERE project_id = %(project_id)s;

-- name: set_classes
UPDATE classes SET position = c.position, name = c.name, colour = c.colour, hotkey = c.hotkey
FROM unnest(%(ids)s::bigint[], %(positions)s::int[], %(names)s::text[], %(colours)s::text[], %(hotkeys)s::text[])
    AS c (id, position, name, colour, hotkey)
WHERE classes.id = c.id AND classes.project_id = %(project_id)s;

-- name: training_began
SELECT EXISTS (SELECT 1 FROM rounds WHERE project_id = %(project_id)s AND number >= 1) AS began;
