-- Usage: what no counter tells yet, limits of single users, paid resets.

-- A step that its user's counters may not tell yet. Written with the step, gone once it is counted;
-- it outlives its session, so that deleting one forgives nothing.
CREATE TABLE unsettled_steps (
    turn_id         uuid NOT NULL,
    step            integer NOT NULL,
    user_id         text NOT NULL,
    weighted_tokens bigint NOT NULL CHECK (weighted_tokens > 0),
    -- Which day and which week it counts in.
    used_at         timestamptz NOT NULL,
    -- Whoever committed the step settles it at once; after this, whoever finds it does.
    due_at          timestamptz NOT NULL DEFAULT clock_timestamp() + interval '5 seconds',
    PRIMARY KEY (turn_id, step)
);
CREATE INDEX unsettled_steps_by_due ON unsettled_steps (due_at);

-- Limits that an admin has set for a user, in weighted tokens; 0 for none, null for everybody's.
CREATE TABLE user_limits (
    user_id       text PRIMARY KEY CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    daily_tokens  bigint CHECK (daily_tokens >= 0),
    weekly_tokens bigint CHECK (weekly_tokens >= 0),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- A paid reset of a user's daily window, from the moment that it was paid.
CREATE TYPE usage_reset_status AS ENUM ('charged', 'done', 'refunded');
CREATE TABLE usage_resets (
    id            uuid PRIMARY KEY,
    user_id       text NOT NULL,
    -- The client's idempotency key, or one of ours.
    key           text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    status        usage_reset_status NOT NULL DEFAULT 'charged',
    -- The moment whose day is reset, and the limits that applied at it.
    asked_at      timestamptz NOT NULL,
    daily_limit   bigint NOT NULL CHECK (daily_limit > 0),
    weekly_limit  bigint NOT NULL CHECK (weekly_limit >= 0),
    -- Cents: what was charged, and what was left.
    cost          bigint NOT NULL CHECK (cost > 0),
    balance       bigint NOT NULL,
    -- What the week's counter said after the reset.
    weekly_used   bigint,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CONSTRAINT usage_resets_end_once CHECK ((status = 'charged') = (finished_at IS NULL)),
    CONSTRAINT usage_resets_done_tell CHECK ((status = 'done') = (weekly_used IS NOT NULL))
);
-- A key is answered the same for good, unless the money went back.
CREATE UNIQUE INDEX usage_resets_by_key ON usage_resets (user_id, key) WHERE status <> 'refunded';
-- Nobody pays twice at a time.
CREATE UNIQUE INDEX usage_resets_one_at_a_time ON usage_resets (user_id) WHERE status = 'charged';
CREATE INDEX usage_resets_unfinished ON usage_resets (created_at) WHERE status = 'charged';
