// The SDKs of browsers, as a page of a shop has them: `await run(SDK, ADDRESS, KEY, TIME)`, and for
// some of them `await many(SDK, ADDRESS, KEY, COUNT)`, which sends events one by one.

const properties = {
  plan: 'pro',
  unicode: 'Zoë 日本 🎉',
  nested: { a: { b: [1, 'two', null, true] } },
  int: 42,
  float: 19.99,
  nothing: null,
  flag: false,
  list: ['x', { y: 1 }],
};
const traits = { name: 'Ada Example', plan: 'pro' };
const segmentsScript = '/@segment/analytics-next/dist/umd/index.js';

function segmentOf(url, key) {
  return window.AnalyticsNext.AnalyticsBrowser.load({ writeKey: key, cdnURL: url });
}

async function posthogOf(url, key, more = {}) {
  const { default: client } = await import('/posthog-js/dist/module.no-external.js');
  // It takes a browser without a window for a robot.
  client.init(key, { api_host: url, opt_out_useragent_filter: true, ...more });
  return client;
}

const sdks = {
  async segment(url, key, when) {
    await script(segmentsScript);
    const client = segmentOf(url, key);
    await client.page('Docs', 'Pricing');
    await client.identify('user-1', traits);
    await client.track('Order Completed', properties);
    await client.track('With Options', { n: 1 }, { timestamp: when });
    await client.group('group-1', { name: 'Example Ltd' });
    await client.alias('user-2');
  },

  async rudder(url, key, when) {
    const { RudderAnalytics } = await import(
      '/@rudderstack/analytics-js/dist/npm/modern/bundled/esm/index.mjs'
    );
    const client = new RudderAnalytics();
    client.load(key, url, { configUrl: url });
    await new Promise((resolve) => client.ready(resolve));
    client.page('Docs', 'Pricing');
    client.identify('user-1', traits);
    client.track('Order Completed', properties);
    client.track('With Options', { n: 1 }, { originalTimestamp: when.toISOString() });
    client.group('group-1', { name: 'Example Ltd' });
    client.alias('user-2');
  },

  async posthog(url, key, when) {
    const client = await posthogOf(url, key);
    client.identify('user-1', traits);
    client.capture('Order Completed', properties);
    client.capture('With Options', { n: 1 }, { timestamp: when });
    client.group('company', 'group-1', { name: 'Example Ltd' });
    client.alias('user-2');
  },

  async amplitude(url, key, when) {
    await script('/@amplitude/analytics-browser/lib/scripts/amplitude-min.js');
    const client = window.amplitude;
    await client.init(key, { serverUrl: `${url}/2/httpapi`, autocapture: false }).promise;
    client.setUserId('user-1');
    client.track('Order Completed', properties);
    client.track('With Options', { n: 1 }, { time: when.getTime() });
    client.identify(new client.Identify().set('plan', 'pro'));
    await client.flush().promise;
  },

  async openpanel(url, key, when) {
    const { OpenPanel } = await import('/@openpanel/web/dist/index.js');
    const client = new OpenPanel({ clientId: key, apiUrl: url });
    await client.identify({ profileId: 'user-1', properties: traits });
    await client.track('Order Completed', properties);
    await client.track('With Options', { n: 1, __timestamp: when.toISOString() });
  },
};

const senders = {
  async segment(url, key) {
    await script(segmentsScript);
    const client = segmentOf(url, key);
    return (n) => client.track('many', { n });
  },

  async posthog(url, key) {
    const soon = { request_queue_config: { flush_interval_ms: 250 } };
    const client = await posthogOf(url, key, soon);
    return (n) => client.capture('many', { n });
  },
};

async function many(sdk, url, key, count) {
  const send = await senders[sdk](url, key);
  for (let n = 0; n < count; n += 1) {
    send(n);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function script(src) {
  return new Promise((resolve, reject) => {
    document.head.append(
      Object.assign(document.createElement('script'), { src, onload: resolve, onerror: reject }),
    );
  });
}

window.many = many;
window.run = (sdk, url, key, time) => sdks[sdk](url, key, new Date(time));
