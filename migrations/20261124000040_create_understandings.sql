-- What is known of each user, told by themselves or noted from what they said.

CREATE TABLE user_understandings (
    user_id       text PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    understanding jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(understanding) = 'object'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
