CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    last_heartbeat BIGINT NOT NULL,
    document TEXT NOT NULL
);
