// Sends with one of the Node SDKs, as an app does: `node node_sdks.mjs SDK ADDRESS KEY TIME`.

import { createRequire } from "node:module";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const [, , sdk, host, key, time] = process.argv;
const when = new Date(time);
const traits = { name: "Ada Example", plan: "pro" };
const properties = {
  plan: "pro",
  unicode: "Zoë 日本 🎉",
  nested: { a: { b: [1, "two", null, true] } },
  int: 42,
  float: 19.99,
  nothing: null,
  flag: false,
  when: new Date("2026-11-19T08:00:00Z"),
  list: ["x", { y: 1 }],
  empty: {},
};

const sdks = {
  async segment() {
    const { Analytics } = require("@segment/analytics-node");
    const client = new Analytics({ writeKey: key, host, flushInterval: 200 });
    client.identify({ userId: "user-1", traits });
    client.track({ userId: "user-1", event: "Order Completed", properties });
    client.track({
      userId: "user-1", event: "With Options", properties: { n: 1 }, timestamp: when,
      messageId: "own-1",
    });
    client.page({ userId: "user-1", category: "Docs", name: "Pricing" });
    client.screen({ userId: "user-1", name: "Home" });
    client.group({ userId: "user-1", groupId: "group-1", traits: { name: "Example Ltd" } });
    client.alias({ userId: "user-1", previousId: "anon-1" });
    await client.closeAndFlush({ timeout: 20_000 });
  },

  async rudder() {
    const Analytics = require("@rudderstack/rudder-sdk-node");
    const client = new (Analytics.default ?? Analytics)(key, { dataPlaneUrl: host, flushAt: 7 });
    const sent = new Promise((resolve) => {
      let left = 7;
      const one = () => (left -= 1) || resolve();
      client.identify({ userId: "user-1", traits }, one);
      client.track({ userId: "user-1", event: "Order Completed", properties }, one);
      client.track({
        userId: "user-1", event: "With Options", properties: { n: 1 }, timestamp: when,
      }, one);
      client.page({ userId: "user-1", category: "Docs", name: "Pricing" }, one);
      client.screen({ userId: "user-1", name: "Home" }, one);
      client.group({ userId: "user-1", groupId: "group-1", traits: { name: "Example Ltd" } }, one);
      client.alias({ userId: "user-1", previousId: "anon-1" }, one);
    });
    await sent;
    process.exit(0); // it keeps its timers
  },

  async posthog() {
    const { PostHog } = require("posthog-node");
    const client = new PostHog(key, { host, flushInterval: 200 });
    client.identify({ distinctId: "user-1", properties: traits });
    client.capture({ distinctId: "user-1", event: "Order Completed", properties });
    client.capture({
      distinctId: "user-1", event: "With Options", properties: { n: 1 }, timestamp: when,
    });
    client.groupIdentify({
      groupType: "company", groupKey: "group-1", properties: { name: "Example Ltd" },
    });
    client.alias({ distinctId: "user-1", alias: "anon-1" });
    await client.isFeatureEnabled("some-flag", "user-1");
    await client.shutdown();
  },

  async amplitude() {
    const client = require("@amplitude/analytics-node");
    await client.init(key, { serverUrl: `${host}/2/httpapi`, flushIntervalMillis: 200 }).promise;
    const user = { user_id: "user-1" };
    client.track("Order Completed", properties, user);
    client.track("With Options", { n: 1 }, { ...user, time: when.getTime(), insert_id: "own-1" });
    client.identify(new client.Identify().set("plan", "pro"), user);
    client.setGroup("company", "group-1", user);
    await client.flush().promise;
  },

  async openpanel() {
    const { OpenPanel } = require("@openpanel/sdk");
    const client = new OpenPanel({ clientId: key, clientSecret: "unused", apiUrl: host });
    await client.identify({ profileId: "user-1", properties: traits });
    await client.track("Order Completed", properties);
    await client.track("With Options", { n: 1, __timestamp: when.toISOString() });
    await client.increment({ profileId: "user-1", property: "logins", value: 1 });
  },

  async umami() {
    const { Umami } = require("@umami/node");
    const client = new Umami({ websiteId: key, hostUrl: host });
    await client.track({ name: "Order Completed", data: { plan: "pro", int: 42 } });
    await client.track({ url: "/pricing", title: "Pricing" });
    await client.identify(traits);
  },
};

await sdks[sdk]();
