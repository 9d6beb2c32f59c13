-- +goose Up
-- Of two processes that do a step at once, the second fails and changes nothing.
CREATE UNIQUE INDEX goose_db_version_once ON goose_db_version (version_id);

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
DROP INDEX goose_db_version_once;
