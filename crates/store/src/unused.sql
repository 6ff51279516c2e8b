CREATE TABLE version_files (
    file TEXT NOT NULL,
    version_id TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    PRIMARY KEY (file, version_id)
);
CREATE INDEX version_files_of_version ON version_files (version_id);
INSERT INTO version_files (file, version_id)
    SELECT module.value ->> 'file', versions.id FROM versions, json_each(versions.content, '$.modules') AS module
    UNION
    SELECT module.value ->> 'source_map', versions.id FROM versions, json_each(versions.content, '$.modules') AS module
        WHERE module.value ->> 'source_map' IS NOT NULL
    UNION
    SELECT module.value ->> 'code', versions.id FROM versions, json_each(versions.content, '$.modules') AS module
        WHERE module.value ->> 'code' IS NOT NULL
    UNION
    SELECT content ->> '$.assets.manifest', id FROM versions WHERE content ->> '$.assets.manifest' IS NOT NULL;
CREATE TABLE asset_manifests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    version_id TEXT UNIQUE REFERENCES versions (id) ON DELETE CASCADE,
    expires_on BIGINT
);
CREATE INDEX asset_manifests_of_account ON asset_manifests (account_id, number);
CREATE INDEX asset_manifests_of_file ON asset_manifests (file, account_id);
INSERT INTO asset_manifests (account_id, file, version_id)
    SELECT workers.account_id, versions.content ->> '$.assets.manifest', versions.id
    FROM versions JOIN workers ON workers.id = versions.worker_id
    WHERE versions.content ->> '$.assets.manifest' IS NOT NULL
    ORDER BY versions.created_on;
CREATE INDEX asset_contents_of_file ON asset_contents (file);
CREATE TABLE unused_files (
    file TEXT PRIMARY KEY,
    since BIGINT NOT NULL
);
