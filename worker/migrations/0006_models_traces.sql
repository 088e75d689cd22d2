-- Registered models and their versions, models that runs built, and traces.

-- last: the greatest number given to a version; none is given twice.
CREATE TABLE models (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  workspace TEXT NOT NULL,
  name TEXT NOT NULL,
  note TEXT NOT NULL,
  tags BLOB NOT NULL,                -- JSONB: name to text
  aliases BLOB NOT NULL,             -- JSONB: alias to the number of a version
  last INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  UNIQUE (workspace, name)
) STRICT;

CREATE TABLE versions (
  workspace TEXT NOT NULL,
  model INTEGER NOT NULL,            -- models.no
  number INTEGER NOT NULL,
  source TEXT NOT NULL,              -- where it was said to come from
  location TEXT NOT NULL,            -- where its files are
  run TEXT,                          -- the id of the run it came from
  built TEXT,                        -- the id of the logged model it was made of
  link TEXT NOT NULL,
  stage TEXT NOT NULL,
  note TEXT NOT NULL,
  tags BLOB NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (model, number)
) STRICT;
CREATE INDEX versions_by_stage ON versions (model, stage, number);
CREATE INDEX versions_by_update ON versions (workspace, updated);

-- A model that a run built, or that somebody told of; registered or not.
CREATE TABLE logged_models (
  workspace TEXT NOT NULL,
  id TEXT NOT NULL PRIMARY KEY,
  experiment TEXT NOT NULL,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  state TEXT NOT NULL,
  location TEXT NOT NULL,            -- where its files are
  run TEXT,                          -- the id of the run that built it
  params BLOB NOT NULL,              -- JSONB: name to text
  tags BLOB NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  deleted INTEGER
) STRICT;
CREATE INDEX logged_models_by_experiment ON logged_models (experiment, created);
CREATE INDEX logged_models_by_name ON logged_models (experiment, name);

-- Points of metrics of logged models; the run has them, too. One row for each request and model; the digest makes a retry a no-op.
CREATE TABLE model_points (
  no INTEGER PRIMARY KEY,
  workspace TEXT NOT NULL,
  model TEXT NOT NULL,               -- logged_models.id
  digest TEXT NOT NULL,
  count INTEGER NOT NULL,
  points BLOB NOT NULL,              -- JSONB: [key, value, time, step, run, dataset's name, its digest] each; NaN is null
  UNIQUE (model, digest)
) STRICT;

CREATE TABLE traces (
  workspace TEXT NOT NULL,
  id TEXT NOT NULL PRIMARY KEY,
  experiment TEXT NOT NULL,
  name TEXT,
  state TEXT NOT NULL,
  started INTEGER NOT NULL,
  duration INTEGER,                  -- ms
  request TEXT,                      -- what was asked, shortened
  response TEXT,                     -- what was answered, shortened
  client TEXT,                       -- the id that the asking program gave it
  told INTEGER NOT NULL,             -- 1 where it was told of itself; 0 where all that is known comes from its spans
  tags BLOB NOT NULL,                -- JSONB: name to text
  metadata BLOB NOT NULL,            -- JSONB: name to text
  runs BLOB NOT NULL,                -- JSONB: the ids of runs it was linked to, as names of an object
  prompts BLOB NOT NULL              -- JSONB: the versions of prompts it was linked to, as names of an object: name/number
) STRICT;
CREATE INDEX traces_by_experiment ON traces (experiment, started, id);

-- What people and programs say of a trace.
CREATE TABLE assessments (
  no INTEGER PRIMARY KEY,
  workspace TEXT NOT NULL,
  trace TEXT NOT NULL,
  id TEXT NOT NULL,
  valid INTEGER NOT NULL,
  overrides TEXT,                    -- the id of the assessment that it takes the place of
  body TEXT NOT NULL,                -- JSON
  UNIQUE (trace, id)
) STRICT;

-- Spans of a trace, a row for each request; those too large for a row are an object in R2.
CREATE TABLE spans (
  no INTEGER PRIMARY KEY,
  workspace TEXT NOT NULL,
  trace TEXT NOT NULL,
  digest TEXT NOT NULL,
  outline TEXT NOT NULL,             -- JSON: [id, parent, name, type, status, start, end] each
  body TEXT,                         -- JSON: the text of each span as it is sent
  object TEXT,                       -- or the key of the object that has it
  UNIQUE (trace, digest)
) STRICT;
CREATE INDEX spans_by_object ON spans (object) WHERE object IS NOT NULL;
