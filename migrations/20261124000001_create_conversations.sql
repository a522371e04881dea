-- What must not be lost: who talked, what was said, which turns were accepted and how they stand.

CREATE TYPE turn_status AS ENUM ('queued', 'running', 'completed', 'failed', 'cancelled');
CREATE TYPE message_role AS ENUM ('user', 'assistant', 'tool', 'system');
CREATE TYPE tool_call_status AS ENUM ('requested', 'started', 'finished');

CREATE TABLE users (
    id         text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
    id                      uuid PRIMARY KEY,
    user_id                 text REFERENCES users ON DELETE CASCADE,
    -- SHA-256 of the token that an anonymous session's bearer holds; gone once it is claimed.
    claim_token_hash        bytea CHECK (octet_length(claim_token_hash) = 32),
    title                   text CHECK (char_length(title) BETWEEN 1 AND 256),
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    -- The sequence number of the session's next message.
    next_sequence           bigint NOT NULL DEFAULT 1 CHECK (next_sequence > 0),
    total_prompt_tokens     bigint NOT NULL DEFAULT 0,
    total_completion_tokens bigint NOT NULL DEFAULT 0,
    CONSTRAINT sessions_have_one_kind_of_owner CHECK ((user_id IS NULL) <> (claim_token_hash IS NULL))
);
CREATE INDEX sessions_by_owner ON sessions (user_id, updated_at DESC, id DESC);

CREATE TABLE messages (
    id         uuid PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    turn_id    uuid NOT NULL,
    -- The model call that wrote it; absent for what the user wrote.
    step       integer,
    -- Its place in the conversation; absent while its turn waits behind another.
    sequence   bigint,
    role       message_role NOT NULL,
    parts      jsonb NOT NULL CHECK (jsonb_typeof(parts) = 'array'),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT messages_have_one_place UNIQUE (session_id, sequence)
);
CREATE INDEX messages_by_turn ON messages (turn_id);

CREATE TABLE turns (
    id                    uuid PRIMARY KEY,
    session_id            uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id               text,
    message_id            uuid REFERENCES messages ON DELETE SET NULL,
    -- The order of acceptance; a higher priority goes first.
    number                bigint GENERATED ALWAYS AS IDENTITY,
    priority              smallint NOT NULL DEFAULT 0,
    status                turn_status NOT NULL DEFAULT 'queued',
    -- When it stopped waiting behind another turn or behind its user's cap.
    ready_at              timestamptz,
    attempt               integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    -- How many attempts were lost with their worker.
    losses                integer NOT NULL DEFAULT 0,
    -- The worker that runs it, until when unless it renews. A handed-back turn has neither.
    worker_id             uuid,
    lease_until           timestamptz,
    -- Committed model calls, and the last chunk that was in the stream at that commit.
    steps                 integer NOT NULL DEFAULT 0,
    chunk_sequence        bigint NOT NULL DEFAULT 0,
    cancel_requested_at   timestamptz,
    cancelled_by          text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    started_at            timestamptz,
    finished_at           timestamptz,
    error_code            text,
    error                 text,
    -- The stream has its last chunk.
    sealed                boolean NOT NULL DEFAULT false,
    prompt_tokens         bigint NOT NULL DEFAULT 0,
    completion_tokens     bigint NOT NULL DEFAULT 0,
    cache_read_tokens     bigint NOT NULL DEFAULT 0,
    cache_creation_tokens bigint NOT NULL DEFAULT 0,
    usage_estimated       boolean NOT NULL DEFAULT false,
    CONSTRAINT turns_running_are_ready CHECK (status <> 'running' OR ready_at IS NOT NULL),
    CONSTRAINT turns_end_once CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT turns_failed_say_why CHECK ((status = 'failed') = (error_code IS NOT NULL)),
    CONSTRAINT turns_leased_are_running CHECK (worker_id IS NULL OR status = 'running')
) WITH (fillfactor = 80);
-- At most one turn of a session runs, or is on its way to a worker.
CREATE UNIQUE INDEX turns_one_at_a_time ON turns (session_id)
    WHERE ready_at IS NOT NULL AND status IN ('queued', 'running');
CREATE INDEX turns_by_session ON turns (session_id, number DESC);
CREATE INDEX turns_waiting ON turns (session_id, priority DESC, number) WHERE status = 'queued';
CREATE INDEX turns_in_flight_by_user ON turns (user_id) WHERE status IN ('queued', 'running');
CREATE INDEX turns_by_lease ON turns (lease_until) WHERE status = 'running';
CREATE INDEX turns_ready_since ON turns (ready_at) WHERE status = 'queued' AND ready_at IS NOT NULL;
CREATE INDEX turns_unsealed ON turns (finished_at) WHERE NOT sealed AND finished_at IS NOT NULL;

ALTER TABLE messages ADD CONSTRAINT messages_turn_id_fkey
    FOREIGN KEY (turn_id) REFERENCES turns ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX turns_by_message ON turns (message_id);

-- What a model call used, once per (turn, step), whatever was repeated.
CREATE TABLE turn_steps (
    turn_id               uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    step                  integer NOT NULL,
    attempt               integer NOT NULL,
    prompt_tokens         bigint NOT NULL,
    completion_tokens     bigint NOT NULL,
    cache_read_tokens     bigint NOT NULL,
    cache_creation_tokens bigint NOT NULL,
    estimated             boolean NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (turn_id, step)
);

-- The tool ledger: a call is recorded when it is asked for, before it starts and after it ends.
CREATE TABLE tool_calls (
    id          text NOT NULL,
    turn_id     uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    step        integer NOT NULL,
    -- Its place among the calls of its step.
    place       integer NOT NULL,
    name        text NOT NULL,
    input       jsonb NOT NULL,
    status      tool_call_status NOT NULL DEFAULT 'requested',
    outcome     jsonb,
    attempt     integer NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (turn_id, id),
    CONSTRAINT tool_calls_finish_with_an_outcome CHECK ((status = 'finished') = (outcome IS NOT NULL))
);

-- A ready turn stays here until a worker has claimed it; the dispatcher publishes what is due.
CREATE TABLE outbox (
    turn_id   uuid PRIMARY KEY REFERENCES turns ON DELETE CASCADE,
    due_at    timestamptz NOT NULL,
    publishes integer NOT NULL DEFAULT 0
);
CREATE INDEX outbox_by_due ON outbox (due_at);

-- A worker holds this advisory lock on a connection of its own as long as it lives, so that its
-- death shows at once (PostgreSQL 15 documentation, 13.3.5).
CREATE FUNCTION worker_lock_key(worker uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('x' || left(replace(worker::text, '-', ''), 8) || right(replace(worker::text, '-', ''), 8))::bit(64)::bigint;
