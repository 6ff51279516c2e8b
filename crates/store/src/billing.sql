CREATE TABLE account_plans (
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    since BIGINT NOT NULL,
    plan TEXT NOT NULL,
    PRIMARY KEY (account_id, since)
);
CREATE TABLE account_terms (
    account_id TEXT PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    document TEXT NOT NULL
);
CREATE TABLE invoices (
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    month TEXT NOT NULL,
    document TEXT NOT NULL,
    csv TEXT NOT NULL,
    html TEXT NOT NULL,
    PRIMARY KEY (account_id, month)
);
