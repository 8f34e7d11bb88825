// The live log page: a token, a list of services, and what the picked one and its newest job print. Everything that
// comes from outside is put in by textContent, so a log line is never more than text.

const LINES_KEPT = 5000;
const PAINT_MS = 50;
const FIRST_LINES = 200;
const BACKOFF_MS = [500, 15000];
const LOOK_MS = { service: 4000, services: 15000 };
const JOB_WAIT_S = 20;
const OVER = new Set(["succeeded", "failed", "cancelled"]);
const TOKEN = "slipway-token";
const ESCAPES = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)/g;

const at = (id) => document.getElementById(id);
const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });

class Refused extends Error {
  constructor(status, error) {
    super(error?.message || `the API answered ${status}`);
    this.status = status;
    this.details = error?.details;
  }
}

async function ask(path, signal) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(TOKEN) || ""}` };
  const response = await fetch(`/api/${path}`, { headers, signal, cache: "no-store" });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body?.error);
  return body;
}

// One stream of entries, however often its connection ends: it comes back with the last cursor.
class Stream {
  constructor(path, onEntries, onState) {
    this.path = path;
    this.onEntries = onEntries;
    this.onState = onState;
    this.cursor = null;
    this.aborted = new AbortController();
  }

  stop() {
    this.aborted.abort();
    this.socket?.close();
  }

  async run() {
    let backoff = BACKOFF_MS[0];
    while (!this.stopped) {
      this.onState(this.cursor ? "reconnecting" : "connecting");
      this.heard = false;
      try {
        await this.listen(await this.address());
      } catch (error) {
        if (this.stopped) return;
        if (error instanceof Refused && [401, 403, 404, 422].includes(error.status)) {
          this.onState("refused", error);
          return;
        }
      }
      if (this.heard) backoff = BACKOFF_MS[0];
      if (!this.stopped) await pause(backoff * (0.75 + Math.random() / 2), this.aborted.signal);
      backoff = Math.min(backoff * 2, BACKOFF_MS[1]);
    }
  }

  get stopped() {
    return this.aborted.signal.aborted;
  }

  // The answer to following over HTTP is where to go with a WebSocket, with a ticket that is good once.
  async address() {
    const start = this.cursor ? { cursor: this.cursor } : { tail: FIRST_LINES };
    const query = new URLSearchParams({ follow: "true", format: "batch", ...start });
    try {
      await ask(`${this.path}?${query}`, this.aborted.signal);
    } catch (error) {
      if (error instanceof Refused && error.status === 426 && error.details?.url) return error.details.url;
      throw error;
    }
    throw new Error("no address was told");
  }

  listen(url) {
    return new Promise((resolve) => {
      if (this.stopped) return resolve();
      this.socket = new WebSocket(url);
      this.socket.onopen = () => this.onState("live");
      this.socket.onmessage = (message) => this.take(message.data);
      this.socket.onclose = resolve;
    });
  }

  take(text) {
    if (this.stopped) return;
    this.heard = true;
    const said = JSON.parse(text);
    const entries = (Array.isArray(said) ? said : [said]).map(entryOf).filter(Boolean);
    for (const entry of entries) if (entry.cursor) this.cursor = entry.cursor;
    this.onEntries(entries);
    if (entries.some((entry) => entry.job)) {
      this.stop(); // a job's last word
      this.onState("over");
    }
  }
}

function entryOf(said) {
  if (said.stream) return said;
  if (said.type !== "error") return null;
  return { timestamp: "", stream: "system", container: "", message: said.error?.message || "an error" };
}

// The lines on show: painted in bursts, so that a fast stream does not hold up the page, and never more than are kept.
class Lines {
  constructor(box, onFollowing) {
    this.box = box;
    this.waiting = [];
    this.following = true;
    this.onFollowing = onFollowing || (() => {});
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.resized()).observe(box);
  }

  clear() {
    this.waiting = [];
    this.box.replaceChildren();
    this.follow();
  }

  add(entries) {
    this.waiting.push(...entries);
    if (this.waiting.length > LINES_KEPT) this.waiting.splice(0, this.waiting.length - LINES_KEPT);
    this.timer ??= setTimeout(() => this.paint(), PAINT_MS);
  }

  paint() {
    this.timer = undefined;
    const rows = document.createDocumentFragment();
    for (const entry of this.waiting.splice(0)) rows.append(row(entry));
    const tooMany = this.box.childElementCount + rows.childElementCount - LINES_KEPT;
    for (let left = Math.min(tooMany, this.box.childElementCount); left > 0; left--) this.box.firstElementChild.remove();
    this.box.append(rows);
    if (this.following) this.toEnd();
  }

  follow() {
    this.following = true;
    this.onFollowing(true);
    this.toEnd();
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.top = this.box.scrollTop;
  }

  // A box of another size has scrolled by itself: that was nobody's wish.
  resized() {
    const size = `${this.box.clientWidth} ${this.box.clientHeight}`;
    if (size === this.size) return false;
    this.size = size;
    if (this.following) this.toEnd();
    return true;
  }

  // Up is away from the newest; back at the end is following again. What only moved because lines were added is neither.
  scrolled() {
    if (this.resized()) return;
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const atEnd = scrollHeight - scrollTop - clientHeight < 8;
    const following = atEnd || (this.following && scrollTop >= this.top);
    this.top = scrollTop;
    if (following === this.following) return;
    this.following = following;
    this.onFollowing(following);
  }
}

function row(entry) {
  const line = element("div", `row ${["stdout", "stderr", "system"].includes(entry.stream) ? entry.stream : "stdout"}`);
  const time = element("time", "", clock(entry.timestamp));
  if (entry.timestamp) {
    time.dateTime = entry.timestamp;
    time.title = entry.timestamp;
  }
  line.append(time);
  if (entry.stream !== "stdout") line.append(element("span", "unseen", `${entry.stream}: `));
  if (entry.container) line.append(element("span", "container", entry.container));
  line.append(element("span", "message", String(entry.message).replace(ESCAPES, "")));
  return line;
}

function clock(timestamp) {
  const moment = new Date(timestamp);
  if (!timestamp || Number.isNaN(moment.getTime())) return "";
  return `${moment.toLocaleTimeString("en-GB")}.${String(moment.getMilliseconds()).padStart(3, "0")}`;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function showStatus(place, status) {
  place.textContent = status;
  place.dataset.is = status;
}

const STATES = {
  connecting: "Connecting…",
  reconnecting: "The connection ended; connecting again…",
  live: "Live",
  over: "That is all",
};

function stateIn(place) {
  return (state, error) => {
    place.textContent = state === "refused" ? error.message : STATES[state];
    place.dataset.is = state;
    if (error?.status === 401) signOut("The token is not accepted any more.");
  };
}

// The newest job of the service: its steps, and what it prints while they are shown.
class JobView {
  constructor(serviceId, signal) {
    this.serviceId = serviceId;
    this.signal = signal;
    this.lines = output;
    this.box = at("job");
    this.box.addEventListener("toggle", () => this.listen(), { signal });
    signal.addEventListener("abort", () => this.stream?.stop());
  }

  // Called as often as the service is looked at: a newer job takes the older one's place.
  async look() {
    const events = await ask(`services/${this.serviceId}/events?per_page=20`, this.signal);
    const id = events.data.find((event) => event.job_id)?.job_id;
    if (!id || id === this.id || this.signal.aborted) return;
    this.id = id;
    this.stream?.stop();
    this.stream = undefined;
    this.lines.clear();
    this.follow(id);
  }

  async follow(id) {
    let job = null;
    while (this.id === id && !this.signal.aborted && !(job && OVER.has(job.status))) {
      try {
        job = await ask(`jobs/${id}${job ? `?wait=${JOB_WAIT_S}` : ""}`, this.signal);
      } catch (error) {
        if (error instanceof Refused && error.status === 404) return;
        await pause(LOOK_MS.service, this.signal);
        continue;
      }
      if (this.id === id && !this.signal.aborted) this.show(job);
    }
  }

  show(job) {
    const first = this.box.hidden || this.box.dataset.job !== job.id;
    at("job-kind").textContent = job.kind;
    showStatus(at("job-status"), job.status === "running" ? "at work" : job.status);
    at("job-message").textContent = job.error?.message || job.message;
    at("steps").replaceChildren(...job.steps.map(step));
    if (first) {
      this.box.dataset.job = job.id;
      this.box.open = !OVER.has(job.status);
      this.box.hidden = false;
    }
    this.listen();
  }

  listen() {
    if (!this.id || !this.box.open || this.stream || this.signal.aborted) return;
    this.stream = new Stream(`jobs/${this.id}/logs`, (entries) => this.lines.add(entries), stateIn(at("job-line")));
    this.stream.run();
  }
}

function step(one) {
  const item = element("li");
  const status = element("span", "status");
  showStatus(status, one.status === "running" ? "at work" : one.status);
  item.append(status, " ", element("span", "", one.name));
  if (one.ended_at) {
    const seconds = (new Date(one.ended_at) - new Date(one.started_at)) / 1000;
    item.append(" ", element("span", "took", `${seconds.toFixed(1)} s`));
  }
  if (one.message) item.append(element("span", "message", one.message));
  return item;
}

const logs = new Lines(at("logs"), (following) => { at("newest").hidden = following; });
const output = new Lines(at("output"));
let picked = null; // { id, stop }
let listing = null; // the search under way

function pick(id) {
  if (picked?.id === id) return;
  picked?.stop();
  const stopping = new AbortController();
  const stream = new Stream(`services/${id}/logs`, (entries) => logs.add(entries), stateIn(at("line")));
  picked = { id, stop: () => { stopping.abort(); stream.stop(); } };
  logs.clear();
  output.clear();
  at("job").hidden = true;
  at("nothing").hidden = true;
  at("service").hidden = false;
  for (const place of ["name", "health", "line", "job-line"]) at(place).textContent = "";
  showStatus(at("status"), "");
  at("url").hidden = true;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  markPicked();
  stream.run();
  keepLooking(id, new JobView(id, stopping.signal), stopping.signal);
}

async function keepLooking(id, job, signal) {
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        const service = await ask(`services/${id}`, signal);
        if (!signal.aborted) showService(service);
        await job.look();
        at("notice").textContent = "";
      } catch (error) {
        if (!signal.aborted) lookFailed(error);
      }
    }
    await pause(LOOK_MS.service, signal);
  }
}

function showService(service) {
  at("name").textContent = service.name;
  showStatus(at("status"), service.status);
  const listed = at("services").querySelector(`[data-service="${CSS.escape(service.id)}"] .status`);
  if (listed) showStatus(listed, service.status);
  const health = service.health;
  at("health").textContent = health ? [health.status, health.message].filter(Boolean).join(": ") : "";
  const link = at("url");
  link.hidden = !/^https?:\/\//.test(service.url || "");
  if (!link.hidden) {
    link.href = service.url;
    link.textContent = service.url;
  }
}

async function list() {
  listing?.abort();
  const mine = (listing = new AbortController());
  const query = new URLSearchParams({ per_page: "100", sort: "name" });
  const wanted = at("search").value.trim();
  if (wanted) query.set("search", wanted);
  const page = await ask(`services?${query}`, mine.signal);
  if (mine.signal.aborted) return;
  const kept = document.activeElement?.dataset?.service;
  at("services").replaceChildren(...page.data.map(entryInList));
  markPicked();
  if (kept) at("services").querySelector(`[data-service="${CSS.escape(kept)}"]`)?.focus();
  at("count").textContent = page.total > page.data.length ? `${page.data.length} of ${page.total}` : `${page.total} in all`;
}

function entryInList(service) {
  const item = element("li");
  const button = element("button");
  const status = element("span", "status");
  button.type = "button";
  button.dataset.service = service.id;
  showStatus(status, service.status);
  button.append(element("span", "name", service.name), status);
  button.addEventListener("click", () => pick(service.id));
  item.append(button);
  return item;
}

function markPicked() {
  for (const button of at("services").querySelectorAll("button")) {
    if (button.dataset.service === picked?.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

function lookFailed(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) signOut("The token is not accepted any more.");
  else at("notice").textContent = error instanceof Refused ? error.message : "The panel does not answer.";
}

async function signIn() {
  try {
    await list();
  } catch (error) {
    if (error.name === "AbortError") return;
    const token = sessionStorage.getItem(TOKEN);
    signOut(error.status === 401 ? "That token is not accepted." : `The panel does not answer as it should: ${error.message}`);
    if (error.status !== 401) sessionStorage.setItem(TOKEN, token); // for when the page is loaded again
    return;
  }
  at("entrance").hidden = true;
  at("panel").hidden = false;
  at("sign-out").hidden = false;
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted) pick(wanted);
  else at("search").focus();
}

function signOut(why) {
  sessionStorage.removeItem(TOKEN);
  picked?.stop();
  picked = null;
  listing?.abort();
  logs.clear();
  output.clear();
  at("services").replaceChildren();
  at("panel").hidden = at("sign-out").hidden = true;
  at("service").hidden = true;
  at("nothing").hidden = false;
  at("entrance").hidden = false;
  at("notice").textContent = "";
  at("refusal").textContent = why || "";
  at("token").focus();
}

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token").value.trim());
  at("token").value = "";
  at("refusal").textContent = "";
  signIn();
});
at("sign-out").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  signOut();
});
at("newest").addEventListener("click", () => logs.follow());
let typing;
at("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => list().catch(lookFailed), 200);
});
window.addEventListener("hashchange", () => {
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted && !at("panel").hidden) pick(wanted);
});
setInterval(() => {
  if (!at("panel").hidden && !document.hidden) list().catch(lookFailed);
}, LOOK_MS.services);

if (sessionStorage.getItem(TOKEN)) signIn();
else at("token").focus();
