CREATE TABLE promotions (
    id TEXT PRIMARY KEY,
    worker_id TEXT NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    created_on BIGINT NOT NULL,
    running BOOLEAN NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX promotions_of_worker ON promotions (worker_id, created_on);
CREATE UNIQUE INDEX running_promotions ON promotions (worker_id) WHERE running;
