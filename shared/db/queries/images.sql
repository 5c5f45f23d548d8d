-- name: insert_images
-- Those that are new to the project; an image already there is left out of the answer.
INSERT INTO images (project_id, sha256, filename, width, height, bytes, format, browser_safe, split)
SELECT %(project_id)s, decode(i.sha256, 'hex'), i.filename, i.width, i.height, i.bytes, i.format, i.browser_safe, i.split
FROM unnest(%(sha256s)s::text[], %(filenames)s::text[], %(widths)s::int[], %(heights)s::int[], %(sizes)s::bigint[],
            %(formats)s::text[], %(browser_safes)s::boolean[], %(splits)s::text[])
    AS i (sha256, filename, width, height, bytes, format, browser_safe, split)
ON CONFLICT (project_id, sha256) DO NOTHING
RETURNING *;

-- name: by_sha256
SELECT * FROM images
WHERE project_id = %(project_id)s
  AND sha256 IN (SELECT decode(h, 'hex') FROM unnest(%(sha256s)s::text[]) AS h);

-- name: by_ids
SELECT * FROM images WHERE project_id = %(project_id)s AND id = ANY (%(ids)s::bigint[]);

-- name: get_image
SELECT * FROM images WHERE project_id = %(project_id)s AND id = %(id)s;

-- name: list_images
SELECT i.* FROM images i
LEFT JOIN image_tags g ON g.image_id = i.id AND g.tag_id = %(tag_id)s::bigint AND g.image_id > %(after)s
WHERE i.project_id = %(project_id)s AND i.id > %(after)s
  AND (%(tag_id)s::bigint IS NULL OR g.image_id IS NOT NULL)
  AND (%(state)s::text IS NULL OR i.state = %(state)s::text)
  AND (%(split)s::text IS NULL OR i.split = %(split)s::text)
ORDER BY i.id LIMIT %(limit)s;

-- name: count_images
SELECT count(*) AS total,
       count(*) FILTER (WHERE split = 'holdout') AS holdout,
       count(*) FILTER (WHERE state = 'unreadable') AS unreadable,
       count(*) FILTER (WHERE state = 'ready') AS ready
FROM images WHERE project_id = %(project_id)s;

-- name: count_unsealed
SELECT count(*) AS unsealed FROM (
    SELECT 1 FROM images WHERE project_id = %(project_id)s AND shard_id IS NULL LIMIT %(enough)s
) AS counted;

-- name: insert_shard
INSERT INTO shards (project_id, number, image_count)
VALUES (%(project_id)s,
        (SELECT coalesce(max(number), -1) + 1 FROM shards WHERE project_id = %(project_id)s), %(image_count)s)
RETURNING *;

-- name: seal_images
-- The oldest unsealed images become the rows of the shard, in order of id.
UPDATE images SET shard_id = %(shard_id)s, shard_row = chosen.place
FROM (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM (
        SELECT id FROM images WHERE project_id = %(project_id)s AND shard_id IS NULL ORDER BY id LIMIT %(image_count)s
    ) AS oldest
) AS chosen
WHERE images.id = chosen.id;

-- name: get_shard
SELECT * FROM shards WHERE id = %(id)s;

-- name: list_shards
SELECT * FROM shards
WHERE project_id = %(project_id)s AND (%(state)s::text IS NULL OR state = %(state)s::text)
ORDER BY number;

-- name: shard_images
SELECT * FROM images WHERE shard_id = %(shard_id)s ORDER BY shard_row;

-- name: shard_candidates
-- What may be asked of a shard: readable pool images without a label, not held by anyone, not given up on, not waiting
-- for further answers or for a reviewer, and in no batch of a vendor that keeps what it was filled with.
SELECT i.id, i.shard_row FROM images i
WHERE i.shard_id = %(shard_id)s AND i.split = 'pool' AND i.state = 'ready'
  AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.id)
  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = i.id AND t.state IN ('leased', 'skipped'))
  AND NOT EXISTS (SELECT 1 FROM tasks t JOIN batches b ON b.id = t.batch_id AND b.fill <> 'selection'
                  WHERE t.image_id = i.id AND t.state = 'open')
  AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = i.id AND q.state IN ('asking', 'disagreed')
                  AND q.answered > 0)
ORDER BY i.shard_row;

-- name: shard_unanswered
-- Readable pool images of a shard that no person has labelled, whatever the model says of them.
SELECT i.id, i.shard_row FROM images i
WHERE i.shard_id = %(shard_id)s AND i.split = 'pool' AND i.state = 'ready'
  AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.id AND l.source <> 'model')
ORDER BY i.shard_row;

-- name: count_candidates
-- Whether anything is left to ask; stops counting at what is enough to know.
SELECT count(*) AS candidates FROM (
    SELECT 1 FROM images i
    WHERE i.project_id = %(project_id)s AND i.split = 'pool' AND i.state = 'ready'
      AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.id)
      AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = i.id AND t.state IN ('leased', 'skipped'))
      AND NOT EXISTS (SELECT 1 FROM tasks t JOIN batches b ON b.id = t.batch_id AND b.fill <> 'selection'
                      WHERE t.image_id = i.id AND t.state = 'open')
      AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = i.id AND q.state IN ('asking', 'disagreed')
                      AND q.answered > 0)
    LIMIT %(enough)s
) AS counted;

-- name: mark_embedded
UPDATE shards SET state = 'embedded' WHERE id = %(shard_id)s;

-- name: mark_ready
UPDATE images SET state = 'ready' WHERE shard_id = %(shard_id)s AND state = 'stored';

-- name: mark_unreadable
UPDATE images SET state = 'unreadable', error = bad.error
FROM unnest(%(ids)s::bigint[], %(errors)s::text[]) AS bad (id, error)
WHERE images.id = bad.id AND images.shard_id = %(shard_id)s;

-- name: draw_holdout
-- Random unlabelled pool images become the holdout. The seed makes the draw repeatable.
UPDATE images SET split = 'holdout'
WHERE id IN (
    SELECT i.id FROM images i
    WHERE i.project_id = %(project_id)s AND i.split = 'pool' AND i.state <> 'unreadable'
      AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.id)
    ORDER BY md5(i.id::text || ':' || %(seed)s::text), i.id LIMIT %(count)s
)
RETURNING id;
