// The chat box: one conversation per persona, kept in this tab.
//
// The hub keeps the transcript under the conversation's id (sent as `user`), so only the new
// message travels; what is kept here is for showing it again after a reload.

import { HubError, answer } from "./hub.js";
import { avatar, chip, make } from "./people.js";
import { Board } from "./tasks.js";

const KEPT = "tron.threads";
const OPENERS = ["What’s on your mind today?", "What can you do?"];
const KEPT_MESSAGES = 200; // a conversation; older ones stay on the hub

const at = (id) => document.getElementById(id);

export function startChat() {
  const threads = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
  let people = [];
  let chosen = sessionStorage.getItem(`${KEPT}.chosen`);
  let early = false;
  let running = null; // AbortController of the answer being written

  const board = new Board(at("tasks"), () => threads[chosen]?.session ?? "");

  const thread = () => (threads[chosen] ??= { id: freshId(), messages: [] });

  function keep() {
    thread().messages.splice(0, thread().messages.length - KEPT_MESSAGES);
    sessionStorage.setItem(KEPT, JSON.stringify(threads));
    at("fresh").disabled = thread().messages.length === 0;
  }

  function offer(now) {
    const ids = (list) => list.map((person) => person.id + person.name).join();
    if (ids(now) === ids(people)) return;
    people = now;
    at("picker").replaceChildren(...people.map((person, place) => chip(person, place, choose)));
    if (people.length) choose(people.some((person) => person.id === chosen) ? chosen : people[0].id);
    if (early) begin(at("say").value.trim());
  }

  function choose(id, { focus = false } = {}) {
    running?.abort();
    chosen = id;
    sessionStorage.setItem(`${KEPT}.chosen`, id);
    for (const radio of at("picker").querySelectorAll("input")) radio.checked = radio.value === id;
    at("chat-name").textContent = nameOf(id);
    at("say").placeholder = `Message ${nameOf(id)}…`;
    draw();
    board.clear();
    board.watch({ past: true });
    if (focus) {
      at("say").focus({ preventScroll: true });
      document.querySelector(".chat").scrollIntoView({ block: "nearest" });
    }
  }

  const nameOf = (id) => people.find((person) => person.id === id)?.name ?? id;

  function draw() {
    const { messages } = thread();
    at("fresh").disabled = messages.length === 0;
    at("log").replaceChildren(...messages.map((message) => {
      const shown = bubble(message, people, chosen);
      shown.finish();
      return shown.item;
    }));
    if (!messages.length) at("log").append(welcome(people, chosen, begin));
    toEnd();
  }

  async function say(text) {
    const { id, messages } = thread();
    const agent = chosen;
    running = new AbortController();
    const stop = running;
    at("log").querySelector(".welcome")?.remove();
    board.settle();
    const mine = { role: "user", text };
    const reply = { role: "assistant", text: "", tools: [], stopped: true }; // until it is whole
    messages.push(mine, reply);
    keep();
    at("log").append(bubble(mine, people, agent).item);
    const shown = bubble(reply, people, agent);
    at("log").append(shown.item);
    busy(true);
    shown.wait("thinking…");
    toEnd();
    try {
      const body = { model: agent, user: id, messages: [{ role: "user", content: text }] };
      for await (const { session, tool, chunk } of answer(body, stop.signal)) {
        if (session) threads[agent].session = session;
        else if (tool) shown.wait(`using ${tool}…`);
        else if (chunk) take(reply, chunk);
        shown.update();
      }
      reply.stopped = false;
    } catch (error) {
      if (error.name !== "AbortError") reply.stopped = false;
      if (!reply.stopped) reply.error = error instanceof HubError ? error.message : "The hub does not answer. Is it running?";
    }
    shown.finish();
    keep();
    if (running === stop) {
      running = null;
      busy(false);
      board.watch();
    }
  }

  function busy(on) {
    at("stop").hidden = !on;
    at("send").hidden = on;
    at("log").setAttribute("aria-busy", on); // read aloud once, when it is whole
  }

  function begin(text) {
    early = !people.length; // somebody types faster than the page loads: said once it has
    if (!text || running || early) return;
    at("say").value = "";
    grow();
    at("say").focus();
    say(text);
  }

  let following = true; // the log's end stays in sight when tasks below take some of its room
  at("log").addEventListener("scroll", () => { following = nearEnd(); });
  new ResizeObserver(() => following && toEnd()).observe(at("log"));
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    begin(at("say").value.trim());
  });
  at("say").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      at("form").requestSubmit();
    }
  });
  at("say").addEventListener("input", grow);
  document.addEventListener("keydown", (event) => event.key === "Escape" && running?.abort());
  at("stop").addEventListener("click", () => {
    running?.abort();
    at("say").focus();
  });
  at("fresh").addEventListener("click", () => {
    running?.abort();
    delete threads[chosen];
    keep();
    draw();
    board.clear();
    at("say").focus();
  });

  return { offer, choose };
}

function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Fold one chunk of the stream into the reply. */
function take(reply, chunk) {
  reply.text += chunk.choices?.[0]?.delta?.content ?? "";
  if (chunk.usage) reply.tokens = chunk.usage.total_tokens;
  if (chunk.tron) Object.assign(reply, { tools: chunk.tron.tools ?? [], cost: chunk.tron.cost_usd, estimated: chunk.tron.estimated, provider: chunk.tron.provider });
}

function welcome(people, id, begin) {
  const place = people.findIndex((person) => person.id === id);
  const box = make("div", "welcome");
  if (place < 0) return box;
  const person = people[place];
  box.append(avatar(person, place), make("p", "", `${person.name}, ${person.title}: ${person.tone}.`));
  const openers = make("div", "openers");
  for (const text of OPENERS) {
    const button = make("button", "quiet", text);
    button.type = "button";
    button.addEventListener("click", () => begin(text));
    openers.append(button);
  }
  box.append(openers);
  return box;
}

/** One message on the page; `update` after each part of it, `finish` at its end. */
function bubble(message, people, agent) {
  const mine = message.role === "user";
  const place = people.findIndex((person) => person.id === agent);
  const item = make("article", mine ? "said mine" : "said");
  item.setAttribute("aria-label", mine ? "You" : people[place]?.name ?? agent);
  const body = make("div", "body");
  const text = make("p", "text", message.text);
  const status = make("p", "doing");
  const foot = make("p", "foot");
  body.append(text, status, foot);
  if (!mine && place >= 0) item.append(avatar(people[place], place));
  item.append(body);

  function wait(doing) {
    status.textContent = doing;
  }
  function update() {
    const follow = nearEnd();
    text.textContent = message.text;
    if (message.text && status.textContent === "thinking…") wait("");
    if (follow) toEnd();
  }
  function finish() {
    const follow = nearEnd();
    text.textContent = message.text;
    wait("");
    foot.textContent = mine ? "" : bill(message);
    if (message.error) {
      const alert = make("p", "error", message.error);
      alert.setAttribute("role", "alert");
      body.append(alert);
    }
    if (follow) toEnd();
  }
  return { item, wait, update, finish };
}

function bill(reply) {
  const parts = [];
  if (reply.tools?.length) parts.push(`used ${reply.tools.join(", ")}`);
  if (reply.provider) parts.push(reply.provider);
  if (reply.tokens !== undefined) parts.push(`${reply.estimated ? "≈" : ""}${reply.tokens} tokens`, price(reply.cost));
  if (reply.stopped) parts.push("stopped");
  return parts.join(" · ");
}

const price = (usd) => typeof usd !== "number" ? "cost unknown" : usd ? `$${usd.toFixed(4)}` : "no cost";

const nearEnd = () => at("log").scrollHeight - at("log").scrollTop - at("log").clientHeight < 80;
const toEnd = () => { at("log").scrollTop = at("log").scrollHeight; };

function grow() {
  const field = at("say");
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight + 2, 180)}px`;
}
