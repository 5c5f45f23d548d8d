-- name: get_text
SELECT guidelines FROM projects WHERE id = %(project_id)s;

-- name: set_text
UPDATE projects SET guidelines = %(text)s WHERE id = %(project_id)s RETURNING id;

-- name: list_classes
SELECT id, description FROM classes WHERE project_id = %(project_id)s ORDER BY position;

-- name: set_description
UPDATE classes SET description = %(description)s WHERE id = %(class_id)s AND project_id = %(project_id)s RETURNING id;

-- name: picked_examples
SELECT e.class_id, e.image_id FROM class_examples e JOIN classes c ON c.id = e.class_id
WHERE c.project_id = %(project_id)s ORDER BY e.class_id, e.position;

-- name: labelled_examples
-- A few images of each class that people labelled, among the oldest labels of the pool: what measures isn't shown.
SELECT class_id, image_id FROM (
    SELECT class_id, image_id, row_number() OVER (PARTITION BY class_id ORDER BY created_at, image_id) AS place
    FROM (
        SELECT l.class_id, l.image_id, l.created_at FROM labels l JOIN images i ON i.id = l.image_id
        WHERE l.project_id = %(project_id)s AND l.source <> 'model' AND i.split = 'pool'
        ORDER BY l.created_at LIMIT 5000
    ) AS oldest
) AS placed
WHERE place <= %(each)s ORDER BY class_id, place;

-- name: clear_examples
DELETE FROM class_examples WHERE class_id = %(class_id)s;

-- name: insert_examples
INSERT INTO class_examples (class_id, image_id, position)
SELECT %(class_id)s, i.id, given.position
FROM unnest(%(image_ids)s::bigint[], %(positions)s::int[]) AS given (id, position)
JOIN images i ON i.id = given.id AND i.project_id = %(project_id)s
RETURNING image_id;
