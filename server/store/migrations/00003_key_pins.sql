-- +goose Up
ALTER TABLE api_keys ADD COLUMN pin_san TEXT NOT NULL DEFAULT '';         -- a SAN rule
ALTER TABLE api_keys ADD COLUMN pin_certificate TEXT NOT NULL DEFAULT ''; -- hexadecimal SHA-256

-- +goose Down
ALTER TABLE api_keys DROP COLUMN pin_certificate;
ALTER TABLE api_keys DROP COLUMN pin_san;
