-- +goose Up
-- A number that every change of keys, revocations and credentials raises, whoever makes
-- it, so that an older copy of the database can be told from this one. marked is what
-- has been kept of it outside: 0 nothing, 1 a mark, 2 a mark with a proof.
CREATE TABLE state_generation (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    marked     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Of two copies that are brought to this schema, the one with the longer history has
-- the larger number.
INSERT INTO state_generation (id, generation) SELECT 1, 1
    + (SELECT coalesce(sum(seq), 0) FROM sqlite_sequence WHERE name IN ('credentials', 'revocations'))
    + (SELECT coalesce(sum(version - 1), 0) FROM credentials)
    + (SELECT coalesce(sum(generation), 0) FROM credential_keys)
    + (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL);

-- +goose StatementBegin
CREATE TRIGGER api_keys_added AFTER INSERT ON api_keys
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER api_keys_changed AFTER UPDATE OF id, tenant, digest, not_before, not_after, revoked_at, pin_san, pin_certificate ON api_keys
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER api_keys_deleted AFTER DELETE ON api_keys
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revocations_added AFTER INSERT ON revocations
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revocations_changed AFTER UPDATE ON revocations
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revocations_deleted AFTER DELETE ON revocations
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER credentials_added AFTER INSERT ON credentials
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER credentials_changed AFTER UPDATE ON credentials
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER credentials_deleted AFTER DELETE ON credentials
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER credential_keys_added AFTER INSERT ON credential_keys
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER credential_keys_changed AFTER UPDATE ON credential_keys
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER credential_keys_deleted AFTER DELETE ON credential_keys
    BEGIN UPDATE state_generation SET generation = generation + 1; END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER credential_keys_deleted;
DROP TRIGGER credential_keys_changed;
DROP TRIGGER credential_keys_added;
DROP TRIGGER credentials_deleted;
DROP TRIGGER credentials_changed;
DROP TRIGGER credentials_added;
DROP TRIGGER revocations_deleted;
DROP TRIGGER revocations_changed;
DROP TRIGGER revocations_added;
DROP TRIGGER api_keys_deleted;
DROP TRIGGER api_keys_changed;
DROP TRIGGER api_keys_added;
DROP TABLE state_generation;
