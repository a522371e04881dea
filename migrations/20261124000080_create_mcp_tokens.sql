-- What users prove themselves with to MCP servers. The token is sealed with SECRETS_KEY.
CREATE TABLE mcp_tokens (
    user_id      text NOT NULL REFERENCES users ON DELETE CASCADE,
    -- The server's address as it is compared: without white space around it, without slashes at its end.
    server_url   text NOT NULL CHECK (octet_length(server_url) BETWEEN 1 AND 2000),
    sealed_token bytea NOT NULL,
    -- When the server stops accepting it, if that is known.
    expires_at   timestamptz,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, server_url)
);
