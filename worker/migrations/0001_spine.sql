-- Times are ms since 1970. Every table names its workspace: a team and all it owns; today there is one, 'default'.

CREATE TABLE experiments (
  workspace TEXT NOT NULL,
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  hypothesis TEXT NOT NULL,
  metric TEXT,
  direction TEXT NOT NULL,
  conclusion TEXT NOT NULL,
  note TEXT NOT NULL,
  tags BLOB NOT NULL,                -- JSONB: name to text
  created INTEGER NOT NULL,
  archived INTEGER,
  rev INTEGER NOT NULL DEFAULT 0,    -- counts changes; an update names the one it read
  digest TEXT NOT NULL,              -- of the request that created it: a replay is told from a collision by it
  UNIQUE (workspace, name)
) STRICT;

-- no: a small number that tail and console rows are clustered by; never used again, as cursors remember it.
-- metrics: JSONB, key to summary; -1e999 and 1e999 are the infinities, NaN is null.
-- touched: rises with every change of the run, by the database's clock; cursors count in it.
CREATE TABLE runs (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  workspace TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  experiment TEXT NOT NULL,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  params BLOB NOT NULL,              -- JSONB: name to number, text, boolean or null
  tags BLOB NOT NULL,
  note TEXT NOT NULL,
  parent TEXT,
  source TEXT NOT NULL,
  error TEXT NOT NULL DEFAULT '',
  metrics BLOB NOT NULL,
  points INTEGER NOT NULL DEFAULT 0,
  lines INTEGER NOT NULL DEFAULT 0,
  started INTEGER NOT NULL,
  ended INTEGER,
  heartbeat INTEGER NOT NULL,
  deleted INTEGER,
  touched INTEGER NOT NULL,
  rev INTEGER NOT NULL DEFAULT 0,
  digest TEXT NOT NULL,
  UNIQUE (experiment, number)
) STRICT;

-- One row for each accepted request of points; writer and seq make a retry a no-op.
CREATE TABLE tail (
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,              -- runs.no
  writer TEXT NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,               -- the run's `touched` when this was accepted
  count INTEGER NOT NULL,
  digest TEXT NOT NULL,
  body TEXT NOT NULL,                -- packed columns, see worker/db/points.ts
  PRIMARY KEY (run, writer, seq)
) STRICT, WITHOUT ROWID;

-- One row for each accepted request of console lines.
CREATE TABLE console (
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,
  first INTEGER NOT NULL,            -- the number of its first line
  count INTEGER NOT NULL,
  writer TEXT NOT NULL,
  seq INTEGER NOT NULL,
  digest TEXT NOT NULL,
  lines TEXT NOT NULL,               -- JSON: [time, stream, text] each
  PRIMARY KEY (run, first),
  UNIQUE (run, writer, seq)
) STRICT, WITHOUT ROWID;

-- A file's content, once per workspace however many runs have it.
CREATE TABLE blobs (
  workspace TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  object TEXT NOT NULL,              -- its random, immutable key in R2
  size INTEGER NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (workspace, sha256)
) STRICT, WITHOUT ROWID;

CREATE TABLE files (
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  size INTEGER NOT NULL,
  type TEXT NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_content ON files (workspace, sha256);

-- The audit log: every change but points and console lines is one row, in the batch that makes the change.
CREATE TABLE events (
  no INTEGER PRIMARY KEY,
  workspace TEXT NOT NULL,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  what TEXT NOT NULL,
  subject TEXT NOT NULL,
  digest TEXT NOT NULL               -- SHA-256 of what was asked for
) STRICT;
