-- A known text under each encryption key in use. A node whose key cannot open it has the wrong key,
-- and says so when it starts instead of refusing every API key hours later.

create table encryption_canaries (
  key_id text not null,
  -- AES-256-GCM: 12 bytes of nonce, 16 of tag, then the text.
  ciphertext bytea not null,
  created_at timestamptz not null,
  constraint encryption_canaries_pkey primary key (key_id)
);
