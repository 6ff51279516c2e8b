CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    subdomain TEXT NOT NULL UNIQUE,
    created_on BIGINT NOT NULL
);
CREATE TABLE members (
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    PRIMARY KEY (account_id, email)
);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    permissions TEXT NOT NULL,
    worker TEXT,
    created_on BIGINT NOT NULL,
    expires_on BIGINT
);
CREATE INDEX tokens_of_account ON tokens (account_id, created_on);
CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    modified_on BIGINT NOT NULL,
    workers_dev BOOLEAN NOT NULL,
    previews BOOLEAN NOT NULL,
    settings TEXT NOT NULL,
    live TEXT NOT NULL,
    versions BIGINT NOT NULL,
    UNIQUE (account_id, name)
);
CREATE TABLE versions (
    id TEXT PRIMARY KEY,
    worker_id TEXT NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    created_on BIGINT NOT NULL,
    author TEXT NOT NULL,
    source TEXT NOT NULL,
    annotations TEXT NOT NULL,
    content TEXT NOT NULL,
    bindings TEXT NOT NULL,
    UNIQUE (worker_id, number)
);
CREATE TABLE deployments (
    id TEXT PRIMARY KEY,
    worker_id TEXT NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    created_on BIGINT NOT NULL,
    author TEXT NOT NULL,
    source TEXT NOT NULL,
    annotations TEXT NOT NULL,
    versions TEXT NOT NULL,
    UNIQUE (worker_id, number)
);
CREATE TABLE zones (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL UNIQUE,
    challenge TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    verified_on BIGINT
);
CREATE TABLE routes (
    id TEXT PRIMARY KEY,
    zone_id TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
    worker_id TEXT NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    pattern TEXT NOT NULL UNIQUE
);
CREATE INDEX routes_of_worker ON routes (worker_id);
CREATE TABLE domains (
    id TEXT PRIMARY KEY,
    zone_id TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
    worker_id TEXT NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    hostname TEXT NOT NULL UNIQUE
);
CREATE INDEX domains_of_worker ON domains (worker_id);
CREATE TABLE schedules (
    worker_id TEXT NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    cron TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    modified_on BIGINT NOT NULL,
    last_due BIGINT,
    PRIMARY KEY (worker_id, cron)
);
CREATE TABLE namespaces (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    config TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    UNIQUE (account_id, kind, name)
);
CREATE TABLE asset_contents (
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    encoding TEXT NOT NULL,
    file TEXT NOT NULL,
    size BIGINT NOT NULL,
    content_type TEXT,
    PRIMARY KEY (account_id, hash, encoding)
);
CREATE INDEX asset_contents_by_hash ON asset_contents (hash, encoding);
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_of_account ON audit (account_id, number);
