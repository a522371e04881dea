-- What users have, in cents, and every change to it.

CREATE TYPE credit_kind AS ENUM ('TOP_UP', 'USAGE', 'GRANT', 'REFUND', 'CARD_CHECK');

-- One row a user, which every change locks: the sum of the user's transactions, and their number.
CREATE TABLE credit_balances (
    user_id       text PRIMARY KEY REFERENCES users,
    balance       bigint NOT NULL DEFAULT 0,
    last_sequence bigint NOT NULL DEFAULT 0,
    updated_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- What is here has happened: a payment that is still pending belongs elsewhere. So every row counts,
-- and the newest running balance is the balance.
CREATE TABLE credit_transactions (
    user_id         text NOT NULL REFERENCES credit_balances,
    -- Its place among the user's transactions: 1, 2, 3, … without holes.
    sequence        bigint NOT NULL CHECK (sequence > 0),
    key             text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 512),
    kind            credit_kind NOT NULL,
    amount          bigint NOT NULL,
    running_balance bigint NOT NULL,
    metadata        jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, sequence),
    CONSTRAINT credit_transactions_happen_once UNIQUE (user_id, key),
    CONSTRAINT credit_transactions_have_their_kinds_sign CHECK (
        CASE kind
            WHEN 'TOP_UP' THEN amount > 0
            WHEN 'USAGE' THEN amount < 0
            -- A month's refill of nothing says that the month's refill was given.
            WHEN 'GRANT' THEN amount >= 0
            WHEN 'REFUND' THEN amount < 0
            WHEN 'CARD_CHECK' THEN amount = 0
        END),
    CONSTRAINT credit_transactions_never_spend_below_zero CHECK (kind <> 'USAGE' OR running_balance >= 0)
);

CREATE FUNCTION refuse_to_rewrite_the_ledger() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'credit transactions are only ever added'; END $$;
CREATE TRIGGER credit_transactions_are_only_added BEFORE UPDATE OR DELETE ON credit_transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite_the_ledger();
