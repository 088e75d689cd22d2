-- Runs at scale: those that have settled are kept once more as columns in R2, which whole tables are read from.

-- The settled runs of an experiment, or some of them: an immutable object, see worker/run-block.ts.
CREATE TABLE run_blocks (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  workspace TEXT NOT NULL,
  experiment TEXT NOT NULL,
  object TEXT NOT NULL UNIQUE,       -- its random, immutable key in R2
  size INTEGER NOT NULL,             -- bytes, the directory at the end included
  directory INTEGER NOT NULL,        -- where that begins
  rows INTEGER NOT NULL,
  widest INTEGER NOT NULL,           -- bytes of its largest column when unpacked
  touched INTEGER NOT NULL,          -- the greatest `touched` of its runs
  covers TEXT NOT NULL,              -- JSON: the numbers of the blocks that were merged into it
  dead TEXT NOT NULL                 -- JSON: its runs (runs.no) that are elsewhere by now
) STRICT;
CREATE INDEX run_blocks_of ON run_blocks (workspace, experiment);

-- The block a run is in, just as it is; 0 where it is in none, and -n where it was in block n and has changed since.
ALTER TABLE runs ADD COLUMN block INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_loose ON runs (experiment, deleted) WHERE block <= 0;
CREATE INDEX runs_dead ON runs (block) WHERE block < 0;
CREATE TRIGGER runs_loosen AFTER UPDATE OF touched, heartbeat ON runs WHEN old.block > 0 BEGIN UPDATE runs SET block = -block WHERE no = new.no; END;
