-- The files of users: what is known of them. Their bytes are in the blob store.

CREATE TABLE workspaces (
    id         uuid PRIMARY KEY,
    user_id    text NOT NULL UNIQUE REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- The sum over its live files; whoever changes it holds the row, so the quota is exact.
    used_bytes bigint NOT NULL DEFAULT 0 CHECK (used_bytes >= 0)
);

CREATE TABLE workspace_files (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    name         text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 255),
    path         text COLLATE "C" NOT NULL CHECK (path LIKE '/%' AND octet_length(path) <= 1024),
    blob_key     text NOT NULL,
    mime_type    text NOT NULL,
    size_bytes   bigint NOT NULL CHECK (size_bytes >= 0),
    -- SHA-256 of the bytes.
    checksum     bytea NOT NULL CHECK (octet_length(checksum) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    deleted_at   timestamptz
);
-- A deleted file keeps its row and gives up its path, however often the path is used again.
CREATE UNIQUE INDEX workspace_files_by_path ON workspace_files (workspace_id, path) WHERE deleted_at IS NULL;
CREATE INDEX workspace_files_by_age ON workspace_files (workspace_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- Blobs that no live file has: being written, or to be deleted. What is due is deleted by whoever
-- looks next. An entry is made before its blob, and goes with the file's row or after the blob.
CREATE TABLE loose_blobs (
    blob_key text PRIMARY KEY,
    due_at   timestamptz NOT NULL
);
CREATE INDEX loose_blobs_by_due ON loose_blobs (due_at);

-- Rows that go with their user or workspace leave their blobs to be deleted.
CREATE FUNCTION loosen_blob() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO loose_blobs (blob_key, due_at) VALUES (OLD.blob_key, now()) ON CONFLICT DO NOTHING;
    RETURN OLD;
END $$;
CREATE TRIGGER workspace_files_loosen_blob AFTER DELETE ON workspace_files
    FOR EACH ROW WHEN (OLD.deleted_at IS NULL) EXECUTE FUNCTION loosen_blob();
