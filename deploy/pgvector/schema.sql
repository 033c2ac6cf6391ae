-- What deploy/kafka/connect/pgvector.properties fills. PostgreSQL runs this once, when its volume is new.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE documents (
  key text PRIMARY KEY,
  id text NOT NULL,
  -- provider.dimensions. An index on `vector` ends at 2,000 dimensions, one on `halfvec` at 4,000.
  vector halfvec(2560) NOT NULL,
  text text NOT NULL,
  payload_lang text,
  model text NOT NULL,
  tokens integer NOT NULL,
  content_hash text NOT NULL,
  source_partition integer NOT NULL,
  source_offset bigint NOT NULL
);

CREATE INDEX ON documents USING hnsw (vector halfvec_cosine_ops);
