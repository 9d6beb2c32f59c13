-- +goose Up
-- How ciphertexts are bound to their rows: 1 leaves the name out, 2 has it. Keys of
-- form 1 are replaced, and every credential is sealed again, before any is used.
ALTER TABLE credential_keys ADD COLUMN form INTEGER NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE credential_keys DROP COLUMN form;
