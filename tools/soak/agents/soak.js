// The work of a soak, in Node: as soak.py, which explains it.
'use strict';

const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { serve } = require('./kurultai-agent.js');

const ledger = process.argv[2];
const step = 1 << 20;
const tickMs = 50;
const kept = [];

serve(async (task) => {
  const { key, bytes, seconds, leaks, keeps } = task.payload;
  const begin = performance.now();
  const held = [];
  for (;;) {
    const share = seconds > 0 ? Math.min(1, (performance.now() - begin) / 1000 / seconds) : 1;
    const wanted = leaks ? bytes * share : bytes;
    while (held.length * step < wanted) held.push(Buffer.alloc(Math.min(step, bytes - held.length * step), 1));
    task.progress(100 * share);
    if (share >= 1) break;
    await sleep(Math.min(tickMs, seconds * 1000 * (1 - share)));
  }
  if (keeps) kept.push(Buffer.alloc(keeps, 1));
  fs.appendFileSync(ledger, `${key}\n`);
  return { held: held.length * step };
});
