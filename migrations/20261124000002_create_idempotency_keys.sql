-- A submit that is sent again attaches to the turn of the first one, for 24 hours.
CREATE TABLE idempotency_keys (
    owner      text NOT NULL,
    key        text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    body_hash  bytea NOT NULL CHECK (octet_length(body_hash) = 32),
    turn_id    uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_by_turn ON idempotency_keys (turn_id);
