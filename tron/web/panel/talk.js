// The page at /talk: who to talk to, the microphone button, and what is said by both sides.

import { HubError, get } from "./hub.js";
import { avatar, chip, make } from "./people.js";
import { Board } from "./tasks.js";
import { Conversation } from "./voice.js";

const STATES = {
  off: "not connected", connecting: "connecting…", listening: "listening", thinking: "thinking…", speaking: "speaking",
};
const LOUD = 4; // what is heard rarely fills the meter

const at = (id) => document.getElementById(id);
const kept = sessionStorage;

let people = [];
let chosen = kept.getItem("tron.talk.agent");
let talk = null; // the Conversation that goes on
let answer = null; // the bubble being filled
let held = false;
let session = ""; // of the conversation that goes on, or of the last one
const board = new Board(at("tasks"), () => session);

const byHand = () => document.querySelector("[name=mode]:checked").value === "push";
const person = () => people.find((someone) => someone.id === chosen);

function show(state) {
  at("state").dataset.state = state;
  at("state-text").textContent = STATES[state];
  at("interrupt").disabled = state !== "speaking" && state !== "thinking";
}

function drawButton() {
  const texts = byHand() ? ["Hold to talk", "Let go when you are done"] : ["Microphone on", "Microphone on"];
  at("mic").dataset.state = talk ? (held ? "held" : "open") : "off";
  at("mic-text").textContent = talk ? texts[Number(held)] : "Start talking";
  at("hang-up").disabled = !talk;
}

function problem(text) {
  at("problem").textContent = text;
}

function bubble(mine) {
  at("welcome")?.remove();
  const item = make("article", mine ? "said mine" : "said");
  item.setAttribute("aria-label", mine ? "You" : person().name);
  const text = make("p", "text");
  const body = make("div", "body");
  const foot = make("p", "foot");
  body.append(text, foot);
  if (!mine) item.append(avatar(person(), people.indexOf(person())));
  item.append(body);
  at("log").append(item);
  at("log").scrollTop = at("log").scrollHeight;
  return { text, foot };
}

const told = {
  state: show,
  ready() {
    talk.sending = !byHand();
    problem("");
    show("listening");
  },
  partial(text) {
    at("partial").textContent = text;
  },
  committed(text) {
    at("partial").textContent = "";
    answer = null;
    bubble(true).text.textContent = text;
    board.settle();
  },
  text({ text_delta }) {
    answer ??= bubble(false);
    answer.text.textContent += text_delta;
    at("log").scrollTop = at("log").scrollHeight;
  },
  sound(ms) {
    at("latency").textContent = `${Math.round(ms)} ms`;
  },
  end(reason) {
    if (answer && reason !== "completed") answer.foot.textContent = reason === "failed" ? "failed" : "interrupted";
    answer = null;
  },
  task(message) {
    session = message.session_id; // a snapshot comes before `ready`
    board.take(message);
  },
  problem,
  over(reason) {
    hangUp();
    problem(reason);
  },
};

async function start() {
  problem("");
  if (!navigator.mediaDevices) {
    problem("This browser gives a page the microphone only over https, or on this machine itself.");
    return;
  }
  const begun = new Conversation({ agent: chosen, style: at("style").value, on: (what, detail) => {
    if (talk === begun) told[what](detail);
  } });
  talk = begun;
  board.clear();
  show("connecting");
  drawButton();
  try {
    await begun.begin();
  } catch (error) {
    begun.end();
    if (talk !== begun) return;
    hangUp();
    problem(error instanceof HubError ? error.message
      : error.name === "NotAllowedError" ? "The browser did not allow the microphone."
      : error.name === "NotFoundError" ? "There is no microphone."
      : `The microphone could not be opened: ${error.message}`);
  }
}

function hangUp() {
  talk?.end();
  talk = null;
  held = false;
  at("partial").textContent = "";
  board.watch(); // a task outlives the conversation
  show("off");
  drawButton();
}

function press() {
  if (!talk || held || !byHand()) return;
  held = true;
  talk.press();
  drawButton();
}

function release() {
  if (!held) return;
  held = false;
  talk?.release();
  drawButton();
}

function choose(id) {
  chosen = id;
  kept.setItem("tron.talk.agent", id);
  for (const radio of at("picker").querySelectorAll("input")) radio.checked = radio.value === id;
  at("talk-name").textContent = person().name;
  if (talk) { // somebody else: another conversation
    hangUp();
    start();
  }
}

function animate() {
  const { mine, theirs } = talk?.loudspeaker ? talk.levels() : { mine: 0, theirs: 0 };
  at("mic-level").value = Math.min(1, mine * LOUD);
  at("voice-level").value = Math.min(1, theirs * LOUD);
  const state = at("state").dataset.state;
  if (talk?.loudspeaker?.busy && (state === "listening" || state === "thinking")) show("speaking");
  else if (state === "speaking" && !talk?.loudspeaker.busy) show("listening");
  requestAnimationFrame(animate);
}

at("mic").addEventListener("click", () => { if (!talk) start(); });
at("mic").addEventListener("pointerdown", press);
for (const gone of ["pointerup", "pointercancel", "blur"]) window.addEventListener(gone, release);
at("hang-up").addEventListener("click", hangUp);
at("interrupt").addEventListener("click", () => talk?.interrupt());
at("style").addEventListener("change", () => { if (talk) { hangUp(); start(); } });
for (const radio of document.querySelectorAll("[name=mode]")) {
  radio.addEventListener("change", () => {
    release();
    if (talk) talk.sending = !byHand();
    drawButton();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && talk) talk.interrupt();
  if (event.key !== " " || event.repeat || !talk || !byHand() || event.target.closest("input, select, .task")) return;
  event.preventDefault();
  press();
});
document.addEventListener("keydown", (event) => {
  const approved = { y: true, n: false }[event.key.toLowerCase()];
  if (approved === undefined || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!at("keys").checked || event.target.matches("select, input[type=password]")) return;
  if (board.answerByKey(approved)) event.preventDefault();
});
document.addEventListener("keyup", (event) => {
  if (event.key !== " " || !held) return;
  event.preventDefault();
  release();
});
window.addEventListener("pagehide", () => talk?.end());

try {
  people = await get("/api/personas");
  at("picker").replaceChildren(...people.map((someone, place) => chip(someone, place, choose)));
  if (people.length) choose(person()?.id ?? people[0].id);
  at("mic").disabled = !people.length;
} catch {
  problem("The hub does not answer.");
}
show("off");
drawButton();
animate();
