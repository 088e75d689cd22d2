-- Points at scale: a run's tail is merged into segments in R2, and what was accepted is remembered when its row is gone.

-- How many points stand in the run's tail.
ALTER TABLE runs ADD COLUMN tail INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET tail = (SELECT coalesce(sum(count), 0) FROM tail WHERE run = no);

-- Sorted points of a run in one immutable object. The segments of a stretch are sorted one behind the other.
CREATE TABLE segments (
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,              -- runs.no
  stretch INTEGER NOT NULL,          -- the greatest lot in the stretch
  part INTEGER NOT NULL,             -- its place in the stretch, from 0
  object TEXT NOT NULL,              -- its random, immutable key in R2
  size INTEGER NOT NULL,             -- bytes
  rows INTEGER NOT NULL,
  first INTEGER NOT NULL,            -- the least and greatest lot; a lot is the `at` of the tail row a point was in
  last INTEGER NOT NULL,
  keys TEXT NOT NULL,                -- JSON: the metric keys, sorted
  contents TEXT NOT NULL,            -- where what is, see worker/segment.ts
  PRIMARY KEY (run, stretch, part)
) STRICT, WITHOUT ROWID;

-- The requests whose tail rows are gone: by writer, unbroken ranges of seq, with 16 hex digits of each request's digest.
CREATE TABLE receipts (
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,
  writer TEXT NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  digests TEXT NOT NULL,
  PRIMARY KEY (run, writer, first)
) STRICT, WITHOUT ROWID;

-- Objects that no row has any more; they go after a time, as readers may be at them.
CREATE TABLE retired (
  object TEXT NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The summaries of runs of thousands of metrics: those that runs.metrics has no room for, by a hash of the key.
CREATE TABLE more_metrics (
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,
  part INTEGER NOT NULL,
  metrics BLOB NOT NULL,             -- JSONB, as runs.metrics
  PRIMARY KEY (run, part)
) STRICT, WITHOUT ROWID;
