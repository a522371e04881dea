-- What a session's model wants to do: written as a whole, so one row a session.
CREATE TABLE todo_lists (
    session_id uuid PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    todos      jsonb NOT NULL CHECK (jsonb_typeof(todos) = 'array'),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The folders of a user's library. A deleted one stays, so that deleting it twice is no mistake.
CREATE TABLE folders (
    id         uuid PRIMARY KEY,
    user_id    text NOT NULL REFERENCES users ON DELETE CASCADE,
    -- The folder that it lies in; null at the top.
    parent_id  uuid REFERENCES folders ON DELETE CASCADE,
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    icon       text CHECK (char_length(icon) BETWEEN 1 AND 50),
    color      text CHECK (char_length(color) BETWEEN 1 AND 50),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
-- Also finds what lies in a folder, and what lies at the top.
CREATE UNIQUE INDEX folders_have_names_of_their_own ON folders (user_id, parent_id, name) NULLS NOT DISTINCT
    WHERE deleted_at IS NULL;
CREATE INDEX folders_by_parent ON folders (parent_id);

-- What users wish for, where no tracker outside keeps it.
CREATE TABLE feature_requests (
    id         uuid PRIMARY KEY,
    -- What people call it by: FR-1, FR-2 …
    number     bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    title      text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    words      tsvector NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX feature_requests_by_words ON feature_requests USING gin (words);

-- Who wishes for it, and in which words.
CREATE TABLE feature_request_needs (
    id                 uuid PRIMARY KEY,
    feature_request_id uuid NOT NULL REFERENCES feature_requests ON DELETE CASCADE,
    user_id            text NOT NULL REFERENCES users ON DELETE CASCADE,
    description        text NOT NULL CHECK (char_length(description) BETWEEN 1 AND 10000),
    created_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX feature_request_needs_by_request ON feature_request_needs (feature_request_id);
CREATE INDEX feature_request_needs_by_user ON feature_request_needs (user_id);
