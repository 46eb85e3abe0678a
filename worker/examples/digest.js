// SHA-256 of {"text": "…"} or {"path": "FILE"}, read piece by piece. Result: {"sha256", "bytes"}.
'use strict';

const { createHash } = require('node:crypto');
const { createReadStream, statSync } = require('node:fs');
const { serve, Fatal } = require('../sdk/node/kurultai-agent.js');

serve(async (task) => {
  const { text, path } = task.payload ?? {};
  if (text === undefined && path === undefined) throw new Fatal('the payload needs text or path');
  const size = text === undefined ? statSync(path).size : Buffer.byteLength(text);
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of text === undefined ? createReadStream(path) : [Buffer.from(text)]) {
    hash.update(piece);
    bytes += piece.length;
    task.progress((100 * bytes) / (size || 1));
  }
  return { sha256: hash.digest('hex'), bytes };
});
