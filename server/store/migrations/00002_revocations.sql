-- +goose Up
CREATE TABLE revocations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    entry      TEXT    NOT NULL UNIQUE,           -- a line of a denylist
    comment    TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL DEFAULT ''        -- the admin's name
) STRICT;

-- +goose Down
DROP TABLE revocations;
