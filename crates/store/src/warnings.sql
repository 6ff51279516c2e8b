CREATE TABLE usage_warnings (
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    measure TEXT NOT NULL,
    period TEXT NOT NULL,
    percent BIGINT NOT NULL,
    told BIGINT NOT NULL,
    PRIMARY KEY (account_id, measure, period)
);
CREATE TABLE usage_warnings_kept (since BIGINT NOT NULL);
