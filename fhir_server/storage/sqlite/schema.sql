-- Schema 4 of a store in one SQLite file.
--
-- `version` is the truth: every version of every resource, appended and never changed. All other tables about resources
-- are projections of the current, live version, so that questions are answered by integers that lie together.
--
-- Texts that recur (resource types, "Type/id", code systems, authors) are kept once in `symbol` and are integers (sid)
-- elsewhere. A compartment (cid) is the symbol of "Patient/id", or 0 for what is in no patient's record. In the index
-- tables Patients themselves are under 0 too: a Patient is looked for among all patients.

-- The counters of this file: the last time, rid, vid, sid, pid given out, and the end of the audit chain.
CREATE TABLE head (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  time INTEGER NOT NULL,
  rid  INTEGER NOT NULL,
  vid  INTEGER NOT NULL,
  sid  INTEGER NOT NULL,
  pid  INTEGER NOT NULL,
  seq  INTEGER NOT NULL,
  hash BLOB NOT NULL
);

-- One row in a file that is encrypted at rest (storage/cipher.py): bodies and the values of the ledger are sealed, INS
-- numbers are blind. `keys`: which data keys, those of the file of keys beside this one. `reached`: the vid up to which it
-- has come while `fhir-server keys encrypt` is at work, NULL when all is done.
CREATE TABLE encryption (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  keys    TEXT NOT NULL,
  reached INTEGER
);

CREATE TABLE symbol (
  sid  INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
);

-- A search parameter of one type, "Observation.code". Bits of `scope`: 1 has entries in compartment 0, 2 in records.
CREATE TABLE parameter (
  pid   INTEGER PRIMARY KEY,
  name  TEXT NOT NULL UNIQUE,
  scope INTEGER NOT NULL
);

-- Every compartment there is, and the version of its access policy.
CREATE TABLE record (
  cid    INTEGER PRIMARY KEY,
  policy INTEGER NOT NULL
);
INSERT INTO record VALUES (0, 0);

-- `entries`: the index rows of that version without cid and rid, so that an update knows which to take away; with them
-- what has no rows of its own, combinations and words.
CREATE TABLE version (
  vid     INTEGER PRIMARY KEY,
  rid     INTEGER NOT NULL,
  version INTEGER NOT NULL,
  time    INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  facts   BLOB NOT NULL,
  entries BLOB NOT NULL,
  body    BLOB NOT NULL
);
CREATE UNIQUE INDEX version_of ON version (rid, version);

CREATE TABLE resource (
  rid          INTEGER PRIMARY KEY,
  key          TEXT NOT NULL,
  id           TEXT GENERATED ALWAYS AS (substr(key, instr(key, '/') + 1)) VIRTUAL,
  type         INTEGER NOT NULL,
  cid          INTEGER NOT NULL,
  vid          INTEGER NOT NULL,
  version      INTEGER NOT NULL,
  time         INTEGER NOT NULL,
  deleted      INTEGER NOT NULL,
  kind         TEXT NOT NULL,
  type_code    TEXT,
  class_code   TEXT,
  vis          INTEGER NOT NULL,
  data_time    INTEGER,
  deposited_at INTEGER NOT NULL,
  release_at   INTEGER,
  lineage      TEXT NOT NULL
);
CREATE UNIQUE INDEX by_key ON resource (key);
CREATE INDEX by_record ON resource (cid, type);
CREATE INDEX by_time ON resource (cid, type, time);
CREATE INDEX by_type ON resource (type);
CREATE INDEX of_deleted ON resource (cid, type) WHERE deleted = 1;

-- Security facts with many values; `fact`: 1 labels, 2 authors, 3 participants. In the order in which a record is
-- entered by those who see of it what they wrote or take part in, and nothing else.
CREATE TABLE multi (
  cid   INTEGER NOT NULL,
  fact  INTEGER NOT NULL,
  value INTEGER NOT NULL,
  rid   INTEGER NOT NULL,
  PRIMARY KEY (cid, fact, value, rid)
) WITHOUT ROWID;

-- What a resource points to: `target` is the symbol of "Type/id", which need not be here, or of a url. `pid`: the search
-- parameter that finds it so, or 0 for the links among its facts.
CREATE TABLE link (
  rid    INTEGER NOT NULL,
  pid    INTEGER NOT NULL,
  target INTEGER NOT NULL,
  PRIMARY KEY (rid, pid, target)
) WITHOUT ROWID;
CREATE INDEX referrer ON link (target, pid, rid);

CREATE TABLE token (
  cid    INTEGER NOT NULL,
  pid    INTEGER NOT NULL,
  code   TEXT NOT NULL,
  rid    INTEGER NOT NULL,
  system INTEGER NOT NULL,
  PRIMARY KEY (cid, pid, code, rid, system)
) WITHOUT ROWID;

CREATE TABLE string (
  cid    INTEGER NOT NULL,
  pid    INTEGER NOT NULL,
  normal TEXT NOT NULL,
  rid    INTEGER NOT NULL,
  exact  TEXT NOT NULL,
  PRIMARY KEY (cid, pid, normal, rid, exact)
) WITHOUT ROWID;

CREATE TABLE span (
  cid  INTEGER NOT NULL,
  pid  INTEGER NOT NULL,
  low  INTEGER NOT NULL,
  high INTEGER NOT NULL,
  rid  INTEGER NOT NULL,
  PRIMARY KEY (cid, pid, low, high, rid)
) WITHOUT ROWID;

CREATE TABLE number (
  cid  INTEGER NOT NULL,
  pid  INTEGER NOT NULL,
  low  REAL NOT NULL,
  high REAL NOT NULL,
  rid  INTEGER NOT NULL,
  PRIMARY KEY (cid, pid, low, high, rid)
) WITHOUT ROWID;

CREATE TABLE quantity (
  cid    INTEGER NOT NULL,
  pid    INTEGER NOT NULL,
  low    REAL NOT NULL,
  high   REAL NOT NULL,
  rid    INTEGER NOT NULL,
  system INTEGER NOT NULL,
  code   TEXT NOT NULL,
  PRIMARY KEY (cid, pid, low, high, rid, system, code)
) WITHOUT ROWID;

CREATE TABLE uri (
  cid   INTEGER NOT NULL,
  pid   INTEGER NOT NULL,
  value TEXT NOT NULL,
  rid   INTEGER NOT NULL,
  PRIMARY KEY (cid, pid, value, rid)
) WITHOUT ROWID;

-- Full text, by vid: see words.py for its tokens. Only added to: a version that is not current joins with nothing.
CREATE VIRTUAL TABLE words USING fts5 (tokens, content = '', columnsize = 0, detail = none, tokenize = ascii);

-- What is unique among live resources.
CREATE TABLE held (
  key TEXT PRIMARY KEY,
  rid INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX held_by ON held (rid);

CREATE TABLE audit (
  seq  INTEGER PRIMARY KEY,
  id   TEXT NOT NULL UNIQUE,
  cid  INTEGER NOT NULL,
  time INTEGER NOT NULL,
  body BLOB NOT NULL,
  hash BLOB NOT NULL
);
CREATE INDEX audit_of ON audit (cid, seq, time);

CREATE TABLE ledger (
  kind    TEXT NOT NULL,
  key     TEXT NOT NULL,
  value   BLOB NOT NULL,
  expires INTEGER,
  PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX ledger_expires ON ledger (expires) WHERE expires IS NOT NULL;
