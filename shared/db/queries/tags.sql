-- name: ensure
-- Names that are new, each once. One that was there in another case keeps its own.
INSERT INTO tags (project_id, name, folded)
SELECT %(project_id)s, t.name, t.folded FROM unnest(%(names)s::text[], %(folded)s::text[]) AS t (name, folded)
ON CONFLICT (project_id, folded) DO NOTHING;

-- name: by_folded
SELECT id, name FROM tags WHERE project_id = %(project_id)s AND folded = ANY (%(folded)s::text[]) ORDER BY folded;

-- name: list_tags
SELECT id, name FROM tags WHERE project_id = %(project_id)s ORDER BY folded;

-- name: count_tags
SELECT count(*) AS tags FROM tags WHERE project_id = %(project_id)s;

-- name: counted
-- With how many images each is on.
SELECT t.name, (SELECT count(*) FROM image_tags i WHERE i.tag_id = t.id) AS images
FROM tags t WHERE t.project_id = %(project_id)s ORDER BY t.folded;

-- name: put
INSERT INTO image_tags (tag_id, image_id, actor)
SELECT t.id, i.id, %(actor)s FROM images i CROSS JOIN unnest(%(tag_ids)s::bigint[]) AS t (id)
WHERE i.project_id = %(project_id)s AND i.id = ANY (%(image_ids)s::bigint[])
ON CONFLICT DO NOTHING RETURNING image_id;

-- name: take
DELETE FROM image_tags
WHERE tag_id = ANY (%(tag_ids)s::bigint[]) AND image_id = ANY (%(image_ids)s::bigint[]) RETURNING image_id;

-- name: forget_unused
-- A tag that is on no image is offered no more.
DELETE FROM tags t
WHERE t.id = ANY (%(tag_ids)s::bigint[]) AND NOT EXISTS (SELECT 1 FROM image_tags i WHERE i.tag_id = t.id);

-- name: of_images
SELECT i.image_id, t.name FROM image_tags i JOIN tags t ON t.id = i.tag_id
WHERE i.image_id = ANY (%(image_ids)s::bigint[]) ORDER BY i.image_id, t.folded;
