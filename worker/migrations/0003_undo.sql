-- Changes of many runs at once, which can be taken back for an hour; and runs that lists leave out.

-- When a run was archived; null while it is in use.
ALTER TABLE runs ADD COLUMN archived INTEGER;

-- JSON: the experiments (ids) that a run was moved out of, so that whoever holds their runs can be told; null for most.
ALTER TABLE runs ADD COLUMN moved_from TEXT;

-- One row for each such change. It stays as the receipt by which a replay is known; what undo needs goes after the hour.
CREATE TABLE bulks (
  workspace TEXT NOT NULL,
  id TEXT NOT NULL PRIMARY KEY,      -- the request's own id, and the token that takes it back
  digest TEXT NOT NULL,              -- of the request: a replay is told from a collision by it
  change TEXT NOT NULL,              -- JSON: field and what it becomes, see wire/bulk.ts; an experiment is its id
  runs TEXT,                         -- JSON: the numbers (runs.no) of the runs meant, settled by the first try; null after the hour
  total INTEGER NOT NULL,            -- how many these are
  done INTEGER NOT NULL DEFAULT 0,   -- how many of them have been gone through, in their order
  changed INTEGER NOT NULL DEFAULT 0,
  objects TEXT NOT NULL DEFAULT '[]', -- JSON: the objects in R2 that hold what was there before, one for each chunk
  undone INTEGER,                    -- how many of the objects have been given back; null while nobody has asked
  restored INTEGER NOT NULL DEFAULT 0,
  changed_since INTEGER NOT NULL DEFAULT 0,
  expires INTEGER NOT NULL
) STRICT;
CREATE INDEX bulks_to_collect ON bulks (expires) WHERE runs IS NOT NULL;
