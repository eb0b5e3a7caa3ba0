// Events as they arrive: one stream while the page is seen, none while it is hidden. What comes is
// put in as text, never as markup. Without this file the page has the latest events of its loading.

const ENTRIES_MAX = 200;
const WAITING_MAX = 200;
const HELP_MS = 20_000;
const AGAIN_MS = 5_000;
const SAY_MS = 10_000;
const GAP_S = 8; // what came in a shorter one is sent again

const live = document.querySelector("#live");
const list = document.querySelector("#events");
const pause = document.querySelector("#pause");
const first = document.querySelectorAll(".first");

const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

// What is shown

function eventOf(each) {
  const summary = make("summary", {}, timeOf(each), " ", make("b", { textContent: each.name }), " ",
    make("span", { className: "pairs" }, ...pairsOf(each)));
  const json = make("pre", { tabIndex: 0, role: "region", ariaLabel: "The event as JSON", textContent: each.json });
  const link = make("p", {}, make("a", { href: each.link, textContent: "In full" }));
  return entryOf(each, "entry", make("details", {}, summary, ...(each.json ? [json] : []), link));
}

function pairsOf(each) {
  const pairs = each.pairs.map(([key, value]) => make("span", { className: "pair" },
    ...(key ? [make("i", { textContent: key }), " "] : []), make("code", { textContent: value })));
  const more = each.more ? [make("span", { className: "soft", textContent: `and ${count(each.more)} more` })] : [];
  return [...pairs, ...more].flatMap((part) => [part, " "]);
}

function refusalOf(each) {
  const title = each.is_nobodys ? "Refused, without a valid key" : "Refused";
  const advice = each.advice && make("span", { className: "soft", textContent: ` ${each.advice}` });
  const text = make("p", {}, make("b", { textContent: title }), " ",
    make("code", { textContent: each.code }), ` ${each.message}`, ...(advice ? [advice] : []));
  return entryOf(each, "entry refused", timeOf(each), text);
}

function noticeOf(text) {
  return make("li", { className: "entry notice" }, make("p", { textContent: text }));
}

function entryOf(each, className, ...children) {
  const item = make("li", { className }, ...children);
  item.dataset.id = each.id;
  return item;
}

function timeOf(each) {
  return make("time", { dateTime: each.time, textContent: each.at });
}

// What was there already

const known = new Set([...list.children].map((item) => item.dataset.id));

function isNew(each) {
  if (known.has(each.id)) return false;
  known.add(each.id);
  if (known.size > 4 * ENTRIES_MAX) known.delete(known.values().next().value);
  return true;
}

// Pausing: by the button, and by opening an event, so that nothing moves while it is read.

let isPaused = false;
let waiting = [];
let passed = 0;

function put(items) {
  if (!items.length) return;
  if (isPaused) {
    waiting.push(...items);
    passed += items.length;
    waiting = waiting.slice(-WAITING_MAX);
    tellPaused();
    return;
  }
  for (const item of items) list.prepend(item);
  while (list.children.length > ENTRIES_MAX) list.lastElementChild.remove();
}

function setPaused(wanted) {
  isPaused = wanted;
  pause.textContent = wanted ? "Go on" : "Pause";
  pause.ariaPressed = String(wanted);
  if (!wanted) {
    const items = waiting;
    if (passed > items.length) items.unshift(noticeOf(`${count(passed - items.length)} more came meanwhile`));
    [waiting, passed] = [[], 0];
    put(items);
  }
  tellPaused();
}

function tellPaused() {
  const box = document.querySelector("#waiting");
  box.hidden = !isPaused;
  box.textContent = passed ? `Paused; ${count(passed)} more ${passed === 1 ? "has" : "have"} come.` : "Paused.";
  showState();
}

pause.addEventListener("click", () => setPaused(!isPaused));
list.addEventListener("toggle", (event) => { if (event.target.open && !isPaused) setPaused(true); }, true);

// What is said

let connection = "connecting";
const STATES = { connecting: "Connecting", live: "Live", trouble: "Waiting for the database", over: "Over" };

function showState() {
  const state = isPaused && connection === "live" ? "paused" : connection;
  document.querySelector("#state").textContent = state === "paused" ? "Paused" : STATES[state];
  document.querySelector(".state").dataset.state = state;
}

function setState(state) {
  connection = state;
  showState();
}

function showTrouble(text) {
  const box = document.querySelector("#trouble");
  box.hidden = !text;
  box.textContent = text;
}

// A screen reader hears of it now and then, not of each event.
let unsaid = 0;
let saidAt = 0;

function say(text) {
  document.querySelector("#said").textContent = text;
  saidAt = performance.now();
}

function sayCount(events) {
  unsaid += events;
  if (!unsaid || performance.now() - saidAt < SAY_MS) return;
  say(unsaid === 1 ? "1 new event" : `${count(unsaid)} new events`);
  unsaid = 0;
}

function count(number) {
  return number.toLocaleString("en");
}

// The first event of all

function beginWaiting() {
  setTimeout(() => {
    const hasRefused = list.querySelector(".refused") !== null;
    document.querySelector("#help")?.toggleAttribute("hidden", hasRefused);
  }, HELP_MS);
}

function endWaiting(each) {
  for (const part of first) part.remove();
  document.querySelector("#arrived").hidden = false;
  say(`The first event has arrived: ${each.name}`);
}

// The stream

let stream = null;
let again = 0;
let watchedUntil = 0;

function noteEnd() {
  if (connection !== "connecting") watchedUntil = Date.now();
}

function sayGap() {
  const missed = watchedUntil ? Math.round((Date.now() - watchedUntil) / 1000) : 0;
  if (missed > GAP_S) put([noticeOf(`${count(missed)} seconds are missing here: this page was not watching`)]);
}

function open() {
  if (stream || document.hidden || connection === "over") return;
  clearTimeout(again);
  setState("connecting");
  stream = new EventSource(live.dataset.stream);
  stream.addEventListener("open", () => { setState("live"); showTrouble(""); sayGap(); });
  stream.addEventListener("error", () => {
    noteEnd();
    if (stream?.readyState === EventSource.CLOSED) lose();
    else setState("connecting");
  });
  stream.addEventListener("news", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("left_out", (event) => put([noticeOf(JSON.parse(event.data).text)]));
  stream.addEventListener("trouble", (event) => { setState("trouble"); showTrouble(JSON.parse(event.data).text); });
  stream.addEventListener("fine", () => { setState("live"); showTrouble(""); });
  stream.addEventListener("over", (event) => end(JSON.parse(event.data).text));
}

function close() {
  if (stream) noteEnd();
  stream?.close();
  stream = null;
}

function end(text) {
  close();
  setState("over");
  showTrouble(text);
}

// A browser does not say with which status a stream was refused.
async function lose() {
  close();
  setState("connecting");
  try {
    const answer = await fetch(live.dataset.stream, { method: "HEAD", redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 404) {
      end("You are signed out, or may not see this app any more. Load the page again.");
      return;
    }
    if (answer.status === 429) showTrouble("Too many watch at once, here or elsewhere. It is tried again soon.");
    if (answer.status === 503) showTrouble("The database can’t be reached, or the server is being restarted. Events are still taken; this page goes on by itself.");
  } catch {
    showTrouble("The server can’t be reached. This page goes on by itself.");
  }
  again = setTimeout(open, AGAIN_MS);
}

function show(news) {
  const events = news.events.filter(isNew);
  const refused = news.refused.filter(isNew);
  if (first[0]?.isConnected && events.length) endWaiting(events[0]);
  document.querySelector("#nothing")?.remove();
  const items = [...events.map((each) => [each, eventOf(each)]), ...refused.map((each) => [each, refusalOf(each)])]
    .sort(([one], [other]) => one.time.localeCompare(other.time)).map(([, item]) => item);
  if (news.more_refused) items.unshift(noticeOf(`${count(news.more_refused)} more were refused in this second`));
  if (news.more) items.unshift(noticeOf(`${count(news.more)} more came in this second`));
  put(items);
  document.querySelector("#note").textContent = news.note && `${news.note}.`;
  if (refused.length && first[0]?.isConnected) {
    document.querySelector("#help").hidden = true;
    document.querySelector("#first-note").textContent = "The last try was refused. It says below why: mend it, and send it again.";
    say(`Refused: ${refused.at(-1).message}`);
  }
  sayCount(events.length);
}

// Languages, one at a time

function makeTabs(box) {
  const panels = [...box.querySelectorAll(":scope > section")];
  const tabs = panels.map((panel) => {
    const tab = make("button", { type: "button", id: `${panel.id}-tab`, role: "tab" });
    tab.textContent = panel.querySelector("h3").textContent;
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    return tab;
  });
  const select = (chosen) => tabs.forEach((tab, at) => {
    tab.ariaSelected = String(at === chosen);
    tab.tabIndex = at === chosen ? 0 : -1;
    panels[at].hidden = at !== chosen;
  });
  const list = make("div", { role: "tablist", ariaLabel: "Language" }, ...tabs);
  tabs.forEach((tab, at) => tab.addEventListener("click", () => select(at)));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
    event.preventDefault();
    select(at);
    tabs[at].focus();
  });
  box.prepend(list);
  box.classList.add("ready");
  select(0);
}

document.querySelectorAll(".languages").forEach(makeTabs);
pause.hidden = false;
if (first.length) beginWaiting();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { close(); clearTimeout(again); } else open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", open);
open();
