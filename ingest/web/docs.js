// Tabs, copy buttons, the form that sends an event, and the place in the table of contents.
// Without this file the page is complete but for the form. Answers are shown as text, never markup.

const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

// Tabs

function makeTabs(box) {
  const panels = [...box.querySelectorAll(':scope > section')];
  const tabs = panels.map((panel) => makeTab(panel));
  const ariaLabel = box.dataset.label ?? 'Language';
  const list = make('div', { role: 'tablist', ariaLabel }, ...tabs);
  const select = (chosen) => tabs.forEach((tab, at) => show(tab, panels[at], at === chosen));
  tabs.forEach((tab, at) => tab.addEventListener('click', () => select(at)));
  list.addEventListener('keydown', (event) => {
    const at = neighbour(event.key, tabs.indexOf(document.activeElement), tabs.length);
    if (at === undefined) return;
    event.preventDefault();
    select(at);
    tabs[at].focus();
  });
  box.prepend(list);
  box.classList.add('ready');
  const named = panels.findIndex((panel) => `#${panel.id}` === location.hash);
  select(Math.max(named, 0));
}

function makeTab(panel) {
  const tab = make('button', { type: 'button', role: 'tab', id: `${panel.id}-tab` });
  tab.textContent = panel.querySelector('h3').textContent;
  tab.setAttribute('aria-controls', panel.id);
  panel.setAttribute('role', 'tabpanel');
  panel.setAttribute('aria-labelledby', tab.id);
  return tab;
}

function show(tab, panel, isChosen) {
  tab.ariaSelected = String(isChosen);
  tab.tabIndex = isChosen ? 0 : -1;
  panel.hidden = !isChosen;
}

function neighbour(key, at, count) {
  const places = {
    ArrowRight: (at + 1) % count,
    ArrowLeft: (at + count - 1) % count,
    Home: 0,
    End: count - 1,
  };
  return places[key];
}

// Copy buttons

function addCopyButton(figure) {
  const button = make('button', { type: 'button', className: 'copy', textContent: 'Copy' });
  button.ariaLive = 'polite';
  button.addEventListener('click', async () => {
    const isCopied = await copy(figure.querySelector('code').textContent);
    button.textContent = isCopied ? 'Copied' : 'Press Ctrl+C';
    if (!isCopied) getSelection().selectAllChildren(figure.querySelector('code'));
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  figure.querySelector('figcaption').append(button);
}

// Browsers give the clipboard to HTTPS and localhost only; elsewhere an old command still works.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const area = make('textarea', { value: text });
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand('copy');
  area.remove();
  focused?.focus();
  return isCopied;
}

// Try it

const TIMEOUT_MS = 30_000;
const SHOWN_HEADERS = ['Content-Type', 'Preference-Applied', 'Nonito-Duplicate', 'Retry-After'];

function setUpForm(form) {
  const button = form.querySelector('button');
  form.hidden = false;
  document.querySelector('#try-note').hidden = true;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (button.ariaDisabled === 'true') return;
    button.ariaDisabled = 'true';
    const field = (name) => form.querySelector(`#try-${name}`).value;
    const shown = await answerTo(field('key').trim(), field('name'), field('params').trim());
    form.querySelector('#try-answer').replaceChildren(...shown);
    button.ariaDisabled = 'false';
  });
}

async function answerTo(key, name, params) {
  const reason = complaint(key, params);
  if (reason) return [failure('Not sent', reason)];
  const begin = performance.now();
  try {
    const response = await send(key, eventOf(name, params));
    const text = await response.text();
    return describe(response, text, Math.round(performance.now() - begin));
  } catch (error) {
    return [failure('No answer', excuse(error))];
  }
}

function complaint(key, params) {
  if (/[^\x21-\x7e]/.test(key)) return 'The API key has characters that no key has.';
  try {
    if (params) JSON.parse(params);
  } catch (error) {
    return `The parameters are not JSON: ${error.message}`;
  }
  return '';
}

// The parameters go out as they were typed: through an object, long numbers would lose digits.
function eventOf(name, params) {
  const fields = [`"event_name": ${JSON.stringify(name)}`];
  if (params) fields.push(`"event_params": ${params}`);
  return `{${fields.join(', ')}}`;
}

function send(key, body) {
  return fetch('/event', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(key && { 'X-API-Key': key }) },
    body,
    credentials: 'omit',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}

function excuse(error) {
  if (error.name === 'TimeoutError') return `The server did not answer in ${TIMEOUT_MS / 1000} seconds.`;
  return 'The server can’t be reached. Is it running, and is the network up?';
}

function failure(title, reason) {
  return make('p', {}, make('b', { className: 'fault', textContent: title }), ` ${reason}`);
}

function describe(response, text, took) {
  const status = make('b', {
    className: response.ok ? 'ok' : 'bad',
    textContent: `${response.status} ${response.statusText}`.trim(),
  });
  const headers = SHOWN_HEADERS.filter((name) => response.headers.has(name)).map((name) =>
    make('span', { textContent: `${name}: ${response.headers.get(name)}` }));
  const answer = parse(text);
  const message = answer ? answer.error?.message ?? '' : 'It is not JSON: is a proxy in between?';
  return [
    make('p', {}, status, ` in ${took} ms. ${message}`),
    make('div', { className: 'headers' }, ...headers),
    codeOf(answer ? indent(text) : text),
  ];
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function codeOf(text) {
  const pre = make('pre', { tabIndex: 0 }, make('code', { textContent: text }));
  return make('figure', { className: 'code' }, pre);
}

// Indents JSON by its tokens, so that every number keeps its digits.
function indent(text) {
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  return tokens.map((token) => {
    if (token === '{' || token === '[') { depth += 1; return token + line(); }
    if (token === '}' || token === ']') { depth -= 1; return line() + token; }
    if (token === ',') return token + line();
    return token === ':' ? ': ' : token;
  }).join('');
}

// The place in the table of contents

function followReading(nav) {
  const links = [...nav.querySelectorAll('a')];
  const sections = links.map((link) => document.querySelector(link.hash));
  const mark = () => {
    const isAtEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
    const begun = sections.filter((section) => section.getBoundingClientRect().top < innerHeight / 3);
    const at = isAtEnd ? links.length - 1 : Math.max(begun.length - 1, 0);
    if (links[at].ariaCurrent) return;
    links.forEach((link) => link.removeAttribute('aria-current'));
    links[at].ariaCurrent = 'true';
    nav.scrollLeft = links[at].offsetLeft - nav.clientWidth / 2 + links[at].offsetWidth / 2;
  };
  addEventListener('scroll', mark, { passive: true });
  mark();
}

document.querySelectorAll('.tabs').forEach(makeTabs);
document.querySelectorAll('.code').forEach(addCopyButton);
setUpForm(document.querySelector('#try-form'));
followReading(document.querySelector('.contents'));
