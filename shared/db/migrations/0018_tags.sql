-- Words of people's own on images, beside classes. Expand only: code from before ignores them.

CREATE TABLE tags (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 50),
    -- The name without case, as Python folds it: what a database's locale makes of letters differs.
    folded     text NOT NULL CHECK (length(folded) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, folded)
);

-- Images of a tag, in order of id, and tags of an image.
CREATE TABLE image_tags (
    tag_id     bigint NOT NULL REFERENCES tags ON DELETE CASCADE,
    image_id   bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    actor      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tag_id, image_id)
);
CREATE INDEX image_tags_image ON image_tags (image_id);
