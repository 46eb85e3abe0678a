// The TypeScript SDK's client, driven by JSON lines on stdin: CACHE COMMAND [ARG…]. A line {"id", "do", …} is one of
//   {"do": "server"}                          what the server said of itself
//   {"do": "request", "method", "params"}     a request as the SDK checks it; "progress": true asks for progress
//   {"do": "call", "name", "arguments"}       tools/call, with the SDK's check against the tool's output schema
//   {"do": "abort", "of": ID}                 cancels another one
// and the answer is {"id", "result" or "error", "progress": […]}.
const { createRequire } = require("node:module");
const readline = require("node:readline");
const load = createRequire(process.argv[2] + "/package.json");
const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
const { ResultSchema } = load("@modelcontextprotocol/sdk/types.js");

const aborts = new Map();

async function act(client, step, progress) {
  const abort = new AbortController();
  aborts.set(step.id, abort);
  const options = { signal: abort.signal, timeout: 300000 };
  if (step.progress) options.onprogress = (one) => progress.push(one);
  if (step.do === "server") {
    return { info: client.getServerVersion(), capabilities: client.getServerCapabilities(), instructions: client.getInstructions() };
  }
  if (step.do === "call") return client.callTool({ name: step.name, arguments: step.arguments }, undefined, options);
  if (step.do === "abort") return aborts.get(step.of).abort("no longer wanted");
  return client.request({ method: step.method, params: step.params }, ResultSchema, options);
}

async function main() {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new StdioClientTransport({ command: process.argv[3], args: process.argv.slice(4), env: process.env }));
  await client.listTools(); // so that results are checked against the tools' schemas
  const open = new Set();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const step = JSON.parse(line);
    const progress = [];
    const done = act(client, step, progress).then(
      (result) => ({ id: step.id, result: result ?? null, progress }),
      (error) => ({ id: step.id, error: { code: error.code, message: error.message }, progress }));
    open.add(done.then((answer) => process.stdout.write(JSON.stringify(answer) + "\n")));
  }
  await Promise.all(open);
  await client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
