-- +goose Up
CREATE TABLE credentials (
	id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: ciphertexts are bound to it
	tenant      TEXT NOT NULL,                     -- '' is nobody's in particular
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	type        TEXT NOT NULL,
	header      TEXT NOT NULL, -- that an ApiKey goes into; '' is Authorization: Bearer
	version     INTEGER NOT NULL,
	sealed      BLOB NOT NULL,
	created_at  INTEGER NOT NULL, -- microseconds since 1970
	created_by  TEXT NOT NULL,
	updated_at  INTEGER NOT NULL,
	UNIQUE (tenant, name)
) STRICT;

CREATE TABLE credential_keys (
	id         INTEGER PRIMARY KEY CHECK (id = 1),
	generation INTEGER NOT NULL, -- of the keys inside
	wrapped    BLOB NOT NULL,    -- a tink keyset, encrypted by a key that is not here
	kek        TEXT NOT NULL     -- where that one is, as it was written
) STRICT;

-- +goose Down
DROP TABLE credential_keys;
DROP TABLE credentials;
