// Sends with CloudEvents' own SDK: `node cloud_events.mjs ADDRESS KEY ATTRIBUTES DATA`.
//
// An event in each mode, with the mode's name for its id, and two of bytes, the last of them twice.
// Prints the answers.

import { createRequire } from "node:module";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const { CloudEvent, Mode, emitterFor, httpTransport } = require("cloudevents");
const [, , url, key, ...rest] = process.argv;
const [attributes, data] = rest.map((text) => JSON.parse(text));
const headers = { "X-API-Key": key };

function event(id, more = {}) {
  return new CloudEvent({ ...attributes, id, data, ...more });
}

async function send(path, mode, each) {
  const emit = emitterFor(httpTransport(`${url}${path}`), { mode });
  return (await emit(each, { headers })).body;
}

// The SDK reads batches and makes none.
async function sendAll(...events) {
  const answer = await fetch(`${url}/events`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/cloudevents-batch+json" },
    body: JSON.stringify(events),
  });
  return answer.text();
}

// Into headers it writes attributes as they are, which HTTP does not take: that is left to the app.
function encoded(id, more = {}) {
  const texts = Object.entries(attributes).filter(([, value]) => typeof value === "string");
  const made = Object.fromEntries(texts.map(([name, text]) => [name, encodeURI(text)]));
  return event(id, { ...made, ...more });
}

const ofBytes = {
  data: Uint8Array.from([0, 1, 255]), datacontenttype: "application/octet-stream",
};
const answers = [
  await send("/event", Mode.BINARY, encoded("binary")),
  await send("/event", Mode.STRUCTURED, event("structured")),
  await send("/events", Mode.STRUCTURED, event("alone")),
  await sendAll(event("first"), event("second")),
  await send("/event", Mode.BINARY, encoded("binary-bytes", ofBytes)),
  await send("/event", Mode.STRUCTURED, event("bytes", ofBytes)),
  await sendAll(event("bytes", ofBytes)),
];
console.log(answers.join("\n"));
