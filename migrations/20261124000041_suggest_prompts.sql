-- When a model was asked to suggest prompts to the user last, since anything new is known of them.

ALTER TABLE user_understandings ADD COLUMN suggested_at timestamptz;
