// Sends many events with a Node SDK: `node many.mjs SDK ADDRESS KEY COUNT PATIENCE`.
//
// PATIENCE is how many seconds it waits for an answer, if it can be told. Prints which events the SDK has given up.

import { createRequire } from "node:module";
import { setTimeout as rest } from "node:timers/promises";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const [, , sdk, host, key, count, patience] = process.argv;
const PAUSE_MS = 20;
const timeoutMs = Number(patience) * 1000;
const gaveUp = [];

// Each returns what sends an event, whose promise says whether it was taken; what waits for the last
// of them, if that does not; and whether one is to be sent after the other.
const sdks = {
  segment() {
    const { Analytics } = require("@segment/analytics-node");
    const client = new Analytics({
      writeKey: key, host, flushAt: 10, flushInterval: 100, httpRequestTimeout: timeoutMs,
    });
    return { send: (n) => called((done) => client.track(event(n), done)) };
  },

  rudder() {
    const Analytics = require("@rudderstack/rudder-sdk-node");
    const client = new (Analytics.default ?? Analytics)(key, {
      dataPlaneUrl: host, flushAt: 10, flushInterval: 100, logLevel: "error",
      // As it comes it gives up after 1.4 s, which is less than a server takes to come back.
      retryCount: 6,
      errorHandler() {}, // without one a batch that it gives up ends the process
    });
    return { send: (n) => called((done) => client.track(event(n), done)) };
  },

  posthog() {
    const { PostHog } = require("posthog-node");
    const client = new PostHog(key, {
      host, flushAt: 10, flushInterval: 100, requestTimeout: timeoutMs,
    });
    client.on("error", (error) => {
      // What nobody answers it keeps; what is refused four times, in nine seconds, it drops, and
      // does not say what that was.
      if (error.name === "PostHogFetchHttpError") throw error;
    });
    const send = async (n) => {
      client.capture({ distinctId: "u", event: "many", properties: { n } });
      return true;
    };
    return { send, end: () => flushed(client) };
  },

  amplitude() {
    const client = require("@amplitude/analytics-node");
    client.init(key, { serverUrl: `${host}/2/httpapi`, flushIntervalMillis: 100, logLevel: 0 });
    const send = (n) => client.track("many", { n }, { user_id: "u" }).promise;
    // What it finds nobody for it drops at once; what is refused it sends again.
    return { send: async (n) => (await send(n)).code === 200 };
  },

  openpanel() {
    const { OpenPanel } = require("@openpanel/sdk");
    const client = new OpenPanel({ clientId: key, apiUrl: host });
    const send = async (n) => (await client.track("many", { n })) !== null;
    return { send, isOneByOne: true };
  },
};

function event(n) {
  return { userId: "u", event: "many", properties: { n } };
}

function called(work) {
  return new Promise((resolve) => {
    work((error) => resolve(!error));
  });
}

// Its `shutdown` leaves what nobody answers just then, as if the process ended.
async function flushed(client) {
  for (;;) {
    try {
      await client.flush();
      return;
    } catch {
      await rest(PAUSE_MS);
    }
  }
}

const { send, end, isOneByOne } = sdks[sdk]();
const sent = [];
for (let n = 0; n < Number(count); n += 1) {
  sent.push(send(n).then((taken) => taken || gaveUp.push(n)));
  if (isOneByOne) await sent.at(-1);
  await rest(PAUSE_MS);
}
await Promise.all(sent);
await end?.();
console.log(JSON.stringify(gaveUp));
process.exit(0); // some keep their timers
