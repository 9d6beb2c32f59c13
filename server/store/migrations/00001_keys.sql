-- +goose Up
CREATE TABLE api_keys (
    id          TEXT    PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    description TEXT    NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL, -- times are microseconds since 1970, UTC
    not_before  INTEGER,
    not_after   INTEGER,
    revoked_at  INTEGER,
    last_used   INTEGER
) STRICT;

-- +goose Down
DROP TABLE api_keys;
