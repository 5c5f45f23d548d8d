-- Who may do what and where, and who works for whom. Expand only: code from before ignores the columns.

-- person: signs in. vendor: a firm outside, which works through keys. annotator: one of a vendor's people, known by the
-- vendor's own name for them; neither of the last two signs in.
ALTER TABLE users
    ADD COLUMN is_admin     boolean NOT NULL DEFAULT false,
    ADD COLUMN kind         text NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'vendor', 'annotator')),
    ADD COLUMN vendor_id    bigint REFERENCES users,
    ADD COLUMN external_id  text CHECK (length(external_id) BETWEEN 1 AND 200),
    ADD COLUMN oidc_subject text UNIQUE,
    ADD CHECK ((kind = 'annotator') = (vendor_id IS NOT NULL AND external_id IS NOT NULL)),
    ADD UNIQUE (vendor_id, external_id);
-- Until now everybody could do everything, and goes on so until an admin says otherwise.
UPDATE users SET is_admin = true;

-- What somebody is in a project. Admins need no row.
CREATE TABLE memberships (
    project_id   bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    user_id      bigint NOT NULL REFERENCES users,
    role         text NOT NULL CHECK (role IN ('manager', 'reviewer', 'annotator')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- Nothing more is asked of who is paused.
    paused_at    timestamptz,
    pause_reason text,
    PRIMARY KEY (project_id, user_id),
    CHECK ((paused_at IS NULL) = (pause_reason IS NULL))
);
CREATE INDEX memberships_user ON memberships (user_id);

-- A link that makes whoever follows it a user, once. Only its SHA-256 is kept.
CREATE TABLE invitations (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_sha256 bytea NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    note         text NOT NULL DEFAULT '' CHECK (length(note) <= 200),
    project_id   bigint REFERENCES projects ON DELETE CASCADE,
    role         text CHECK (role IN ('manager', 'reviewer', 'annotator')),
    is_admin     boolean NOT NULL DEFAULT false,
    created_by   bigint REFERENCES users,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    used_by      bigint REFERENCES users,
    revoked_at   timestamptz,
    CHECK ((project_id IS NULL) = (role IS NULL)),
    CHECK ((used_at IS NULL) = (used_by IS NULL))
);

-- batch: what a vendor does in the batches that are its own. Such a key acts as the vendor.
ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_scopes_check,
    ADD CONSTRAINT api_keys_scopes_check
        CHECK (scopes <@ ARRAY['read', 'ingest', 'label', 'manage', 'batch'] AND cardinality(scopes) > 0),
    ADD COLUMN user_id    bigint REFERENCES users,
    ADD COLUMN created_by bigint REFERENCES users,
    ADD CHECK (NOT scopes @> ARRAY['batch'] OR user_id IS NOT NULL);
CREATE INDEX api_keys_user ON api_keys (user_id) WHERE user_id IS NOT NULL;

-- Where who did it was.
ALTER TABLE events ADD COLUMN address text;

-- The first user is an admin.
CREATE OR REPLACE FUNCTION add_first_user(username text, display_name text, password_hash text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM users) THEN
        INSERT INTO users (username, display_name, password_hash, is_admin) VALUES ($1, $2, $3, true)
        RETURNING id INTO added;
    END IF;
    RETURN added;
END
$$;
