// Posts every line of an NDJSON file as the API reference's JavaScript example does.
// Usage: node fetch_client.mjs URL KEY FILE; prints each answer's body on a line.
import { readFileSync } from 'node:fs';

const [url, key, path] = process.argv.slice(2);

const sendEvent = async (eventName, eventParams) => {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-API-Key': key },
    body: JSON.stringify({ event_name: eventName, event_params: eventParams }),
  });
  return response.json();
};

for (const line of readFileSync(path, 'utf8').split('\n').filter(Boolean)) {
  const event = JSON.parse(line);
  console.log(JSON.stringify(await sendEvent(event.event_name, event.event_params)));
}
