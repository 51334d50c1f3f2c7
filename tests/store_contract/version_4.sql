-- A database of schema version 4 with one message to two recipients, by the statements of the version that wrote it.
PRAGMA journal_mode = WAL;
CREATE TABLE message (
    id INTEGER PRIMARY KEY,          -- the queue id's number
    arrived INTEGER NOT NULL,        -- milliseconds since 1970, UTC
    expires INTEGER NOT NULL,
    reverse_path TEXT NOT NULL,      -- empty: the null reverse-path
    body TEXT NOT NULL,              -- '7bit' or '8bitmime'
    size INTEGER NOT NULL,           -- octets of mail data
    crc32c INTEGER NOT NULL,
    inline INTEGER NOT NULL,         -- 1: in the table data; 0: in data/xx/ID
    session_id TEXT NOT NULL,
    peer TEXT,
    identity TEXT NOT NULL,
    issuer TEXT,
    subject TEXT,
    fingerprint TEXT,
    decided_by TEXT NOT NULL
) STRICT;
CREATE TABLE data (
    message INTEGER PRIMARY KEY,
    octets BLOB NOT NULL
) STRICT;
CREATE TABLE destination (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    next_try INTEGER NOT NULL DEFAULT 0,     -- nothing is due before, whatever its recipients say
    failures INTEGER NOT NULL DEFAULT 0,
    last_reply TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE recipient (
    destination INTEGER NOT NULL,
    due INTEGER NOT NULL,
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,
    forward_path TEXT NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,        -- 0 waiting, 1 held
    attempts INTEGER NOT NULL DEFAULT 0,
    last_reply TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (destination, due, message, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_message ON recipient (message, n);
ALTER TABLE message ADD COLUMN hold TEXT;                           -- why it is held; then all its recipients are
ALTER TABLE message ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;  -- 1: held because it cannot be delivered
CREATE INDEX message_held ON message (id) WHERE hold IS NOT NULL;
UPDATE message SET damaged = 1,
        hold = (SELECT 'damaged: ' || substr(last_reply, 7) FROM recipient WHERE message = message.id AND state = 1)
    WHERE id IN (SELECT message FROM recipient WHERE state = 1);
ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;  -- 1: the sender was told of the delay
CREATE TABLE attempt (                   -- attempts that settled nothing, the latest of each recipient
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,
    attempt INTEGER NOT NULL,            -- from 1
    at INTEGER NOT NULL,
    reply TEXT NOT NULL,
    PRIMARY KEY (message, n, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_in_file ON message (id) WHERE inline = 0;
PRAGMA user_version = 4;
INSERT INTO message VALUES (4711000000000,1800000000000,1800432000000,'alice@example.org','8bitmime',17,2926447475,1,'s1','[::1]:4711','verified','/C=FR/O=CNRS/CN=CNRS-Standard','/C=FR/O=CNRS/CN=Alice',NULL,'permit_tls_all_clientcerts',NULL,0);
INSERT INTO data VALUES (4711000000000, X'5375626a6563743a20780d0a0d0a780d0a');
INSERT INTO destination (name) VALUES ('x.example') ON CONFLICT DO NOTHING;
INSERT INTO recipient (destination, due, message, n, forward_path, state) VALUES (1, 1800000000000, 4711000000000, 0, 'a@x.example', 0);
INSERT INTO recipient (destination, due, message, n, forward_path, state) VALUES (1, 1800000000000, 4711000000000, 1, 'b@x.example', 0);
