// Starts the page: the hub's pulse every few seconds, the people, the chat.

import { get } from "./hub.js";
import { showPeople } from "./people.js";
import { startChat } from "./chat.js";

const PULSE_MS = 4_000;
const PEOPLE_EVERY = 6; // pulses

const at = (id) => document.getElementById(id);
const chat = startChat();

function show(id, value) {
  const text = value === undefined || value === null || value === "" ? "–" : String(value);
  if (at(id).textContent !== text) at(id).textContent = text;
}

function pulse(state, text) {
  at("pulse").dataset.state = state;
  show("pulse-text", text);
}

async function refreshPeople() {
  const people = await get("/api/personas");
  showPeople(people, (id) => chat.choose(id, { focus: true }));
  chat.offer(people);
  const models = new Set(people.map((person) => person.model));
  show("brain", models.size > 1 ? `${models.size} models` : [...models][0]);
}

async function refresh(count) {
  const status = await get("/api/status");
  show("uptime", status.uptime);
  show("processes", status.process_count);
  show("sessions", status.session_count);
  if (count % PEOPLE_EVERY === 0) {
    const [health] = await Promise.all([get("/health"), refreshPeople()]);
    show("version", health.version);
  }
  pulse("alive", "the hub is alive");
}

async function live() {
  for (let count = 0; ; ) {
    if (!document.hidden) {
      try {
        await refresh(count);
        count += 1;
      } catch {
        pulse("gone", "the hub does not answer");
        count = 0; // when it is back, everything is read anew
      }
    }
    await new Promise((resume) => setTimeout(resume, PULSE_MS));
  }
}

at("base-url").textContent = `${location.origin}/v1`;
live();
