// Brings the page up to date every few seconds, part by part: one that somebody is in stays as it is.
// The answer is parsed as a document of its own, in which nothing runs and nothing is loaded.

const EVERY_MS = 5000;
const TIMEOUT_MS = 4000;
const pause = document.getElementById("pause");
const said = document.getElementById("refreshing");
let isPaused = false;

function say(text) {
  if (said.textContent !== text) said.textContent = text;
}

function load() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", "/health");
    request.responseType = "document";
    request.timeout = TIMEOUT_MS;
    request.onload = () => resolve(request);
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });
}

function isBusy(part) {
  const selection = document.getSelection();
  const isSelected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  return part.contains(document.activeElement) || isSelected;
}

function replace(part, fresh) {
  if (!fresh || part.isEqualNode(fresh) || isBusy(part)) return;
  for (const open of part.querySelectorAll("details[open]")) {
    const again = open.id && fresh.querySelector(`#${open.id}`);
    if (again) again.open = true;
  }
  part.replaceWith(document.adoptNode(fresh));
}

function bring(fresh) {
  const state = document.getElementById("state");
  const now = fresh.getElementById("state");
  if (state.textContent !== now.textContent) state.textContent = now.textContent;
  if (state.className !== now.className) state.className = now.className;
  document.getElementById("as-of").textContent = fresh.getElementById("as-of").textContent;
  for (const part of document.querySelectorAll("[data-fresh]")) replace(part, fresh.getElementById(part.id));
}

async function refresh() {
  if (isPaused || document.hidden) return;
  try {
    const request = await load();
    if (isPaused) return;
    if (request.status === 200 && request.response?.getElementById("findings")) {
      bring(request.response);
      say("");
    } else {
      say("This can’t be brought up to date; load it again.");
    }
  } catch {
    say("The server does not answer: this is how it was.");
  }
}

async function go() {
  await refresh();
  setTimeout(go, EVERY_MS);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.textContent = isPaused ? "Go on" : "Pause";
  say(isPaused ? "It stays as it is." : "");
  refresh();
});
document.addEventListener("visibilitychange", refresh);
setTimeout(go, EVERY_MS);
