-- Messages that nobody could handle, kept where they can be listed without being taken out of a
-- queue: reading a quorum queue and putting back counts as a delivery, and enough of them delete
-- the message (RabbitMQ documentation, "Quorum Queues", Poison Message Handling).
CREATE TABLE dead_letters (
    id          uuid PRIMARY KEY,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    -- The turn that it names. No foreign key: a letter outlives its turn.
    turn_id     uuid,
    reason      text NOT NULL,
    body        bytea NOT NULL,
    at          timestamptz NOT NULL,
    replayed_at timestamptz,
    replayed_by text,
    CONSTRAINT dead_letters_say_who_replayed CHECK ((replayed_at IS NULL) = (replayed_by IS NULL))
);
CREATE UNIQUE INDEX dead_letters_not_replayed ON dead_letters (number DESC) WHERE replayed_at IS NULL;
