-- What the model reads in place of the older messages of a long conversation. The messages stay.
CREATE TABLE context_summaries (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    -- The sequence number of the last message that it stands for.
    up_to      bigint NOT NULL,
    summary    text NOT NULL,
    turn_id    uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, up_to)
);
CREATE INDEX context_summaries_by_turn ON context_summaries (turn_id);
