// Reads streams with the official clients and says what they made of them: JSON on stdin and on stdout.
// [{client: "ai-sdk" | "ag-ui", body: "…"}] → [{…, warnings: [], errors: []}]
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "package.json"));
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const ai = await load("ai");
const agui = await load("@ag-ui/client");
const schemas = await load("@ag-ui/core/schemas");

let warnings = [];
for (const level of ["log", "info", "debug", "warn", "error"]) {
  console[level] = (...words) => warnings.push(words.map(String).join(" "));
}
globalThis.AI_SDK_LOG_WARNINGS = false;

function streamOf(body) {
  const bytes = new TextEncoder().encode(body);
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 1000) controller.enqueue(bytes.slice(at, at + 1000));
      controller.close();
    },
  });
}

async function readAISDK(body) {
  const errors = [];
  const types = [];
  let finish = null;
  let message = null;
  const chunks = ai.parseJsonEventStream({ stream: streamOf(body), schema: ai.uiMessageChunkSchema }).pipeThrough(
    new TransformStream({
      transform(part, controller) {
        if (!part.success) {
          errors.push(`schema: ${part.error.message}`);
          return;
        }
        types.push(part.value.type);
        if (part.value.type === "finish") finish = part.value;
        controller.enqueue(part.value);
      },
    }),
  );
  const onError = (error) => errors.push(String(error?.message ?? error));
  for await (const each of ai.readUIMessageStream({ stream: chunks, onError })) message = each;
  return { message, finish, types, errors };
}

async function readAGUI(body) {
  const errors = [];
  const types = [];
  let runError = null;
  let finished = null;
  for (const block of body.split("\n\n")) {
    const data = block.split("\n").filter((line) => line.startsWith("data:"));
    if (!data.length) continue;
    const event = JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    const parsed = schemas.EventSchemas.safeParse(event);
    if (!parsed.success) errors.push(`schema: ${event.type}: ${parsed.error.message}`);
    types.push(event.type);
  }
  const agent = new agui.HttpAgent({
    url: "http://patinox.invalid/",
    threadId: "thread-s1",
    fetch: async () => new Response(streamOf(body), { headers: { "content-type": "text/event-stream" } }),
  });
  const subscriber = {
    onRunErrorEvent: ({ event }) => void (runError = event),
    onRunFinishedEvent: ({ event }) => void (finished = event),
    onRunFailed: ({ error }) => void errors.push(String(error?.message ?? error)),
  };
  try {
    await agent.runAgent({}, subscriber);
  } catch (error) {
    errors.push(String(error?.message ?? error));
  }
  return { messages: agent.messages, state: agent.state, runError, finished, types, errors };
}

const readers = { "ai-sdk": readAISDK, "ag-ui": readAGUI };
let input = "";
process.stdin.setEncoding("utf8");
for await (const piece of process.stdin) input += piece;
const results = [];
for (const { client, body } of JSON.parse(input)) {
  warnings = [];
  results.push({ ...(await readers[client](body)), warnings });
}
process.stdout.write(JSON.stringify(results));
