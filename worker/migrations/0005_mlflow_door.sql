-- What MLflow's clients log beyond what was here: datasets, what runs read and made, and files that come in parts.

-- When an experiment was last changed, and where the files of its runs lie where they are not here (a URI).
ALTER TABLE experiments ADD COLUMN updated INTEGER NOT NULL DEFAULT 0;
UPDATE experiments SET updated = created;
ALTER TABLE experiments ADD COLUMN artifacts TEXT;

-- A named input. It stands once per experiment, name and digest, as it was first described.
CREATE TABLE datasets (
  no INTEGER PRIMARY KEY,
  workspace TEXT NOT NULL,
  experiment TEXT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  type TEXT NOT NULL,                -- of its source: local, s3, code, …
  source TEXT NOT NULL,
  schema TEXT NOT NULL,
  profile TEXT NOT NULL,
  created INTEGER NOT NULL,
  UNIQUE (experiment, name, digest)
) STRICT;

-- Which run read which dataset, in their order.
CREATE TABLE run_datasets (
  no INTEGER PRIMARY KEY,
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,              -- runs.no
  dataset INTEGER NOT NULL,          -- datasets.no
  tags TEXT NOT NULL,                -- JSON: name to text
  UNIQUE (run, dataset)
) STRICT;
CREATE INDEX run_datasets_by_dataset ON run_datasets (dataset);

-- Which run read (input) or made (output) which logged model, in their order.
CREATE TABLE run_models (
  no INTEGER PRIMARY KEY,
  workspace TEXT NOT NULL,
  run INTEGER NOT NULL,
  role TEXT NOT NULL,
  model TEXT NOT NULL,
  step INTEGER NOT NULL,
  UNIQUE (run, role, model, step)
) STRICT;
CREATE INDEX run_models_by_model ON run_models (model);

-- Files that are coming in in parts.
CREATE TABLE uploads (
  workspace TEXT NOT NULL,
  id TEXT NOT NULL PRIMARY KEY,
  run INTEGER NOT NULL,              -- as in files: 0 for a file of no run
  path TEXT NOT NULL,
  type TEXT NOT NULL,
  object TEXT NOT NULL,
  upload TEXT NOT NULL,              -- what R2 knows it by
  created INTEGER NOT NULL,
  sha256 TEXT                        -- of what came in, once it is complete
) STRICT, WITHOUT ROWID;

-- When a request was remembered; those of MLflow's clients, whose numbers never join to ranges, are forgotten after a time.
ALTER TABLE receipts ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX receipts_to_forget ON receipts (at) WHERE writer = 'mlflow';

-- Runs are listed by when they started; a run's row is long, and is read only where it is shown.
CREATE INDEX runs_by_start ON runs (experiment, deleted, started, id);
