// The tasks of a conversation: how far each is, what it asks, and the buttons to answer.
// Callers: talk.js, which hands on the socket's messages, and chat.js, which asks over REST.
//
// A card changes in place, so nothing moves away under a finger or from a screen reader.

import { HubError, get, post } from "./hub.js";
import { make } from "./people.js";

const STATES = {
  planned: "queued", paused: "paused", awaiting_approval: "needs your yes", running: "at work",
  completed: "done", failed: "failed", cancelled: "cancelled",
};
const STEPS = {
  planned: "to do", paused: "paused", awaiting_approval: "asks first", running: "now",
  completed: "done", failed: "failed", cancelled: "not done",
};
const ENDED = new Set(["completed", "failed", "cancelled"]);
const SHOWN = 8;
const STEADY_MS = 600; // a key pressed sooner was meant for something else
const LOOK_MS = 1_500; // at tasks, while one is at work or asks
const IDLE_MS = 6_000; // while all that is left waits for its time
const LOG_CHARS = 240;

const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };

export class Board {
  /** `root` has a list, and behind it comes a line for news; `session()` is whose tasks they are. */
  constructor(root, session) {
    Object.assign(this, { root, session, cards: new Map(), past: new Set(), timer: 0 });
    this.list = root.querySelector("ul");
    this.news = root.nextElementSibling;
  }

  get live() {
    return [...this.cards.values()].some((card) => !ENDED.has(card.task.status));
  }

  path(id, what = "") {
    return `/v1/tasks/${encodeURIComponent(id)}${what}?session_id=${encodeURIComponent(this.session())}`;
  }

  /** Look at the session's tasks, now and for as long as one is under way. `past`: what has ended is no news. */
  async watch({ past = false } = {}) {
    this.rest();
    const session = this.session();
    if (!session) return;
    if (!document.hidden) await this.refresh(session, past).catch(() => {}); // the page says if the hub is away
    if (session !== this.session() || !this.live) return;
    const busy = [...this.cards.values()].some(({ task }) => task.status === "running" || task.approval);
    this.rest();
    this.timer = setTimeout(() => this.watch(), busy ? LOOK_MS : IDLE_MS);
  }

  rest() {
    clearTimeout(this.timer);
  }

  async refresh(session, past) {
    const { tasks } = await get(`/v1/tasks?session_id=${encodeURIComponent(session)}&limit=${SHOWN}`);
    if (session !== this.session()) return;
    for (const task of tasks.reverse()) {
      if (past && ENDED.has(task.status)) this.past.add(task.id);
      if (!this.past.has(task.id)) this.put(task);
    }
  }

  /** One task, as it stands. What fails here is noticed at the next message or look. */
  async reload(id) {
    const heard = this.cards.get(id)?.heard;
    const task = await get(this.path(id)).catch(() => null);
    if (task && this.cards.get(id)?.heard === heard) this.put(task);
    else if (task) await this.reload(id); // it has gone on meanwhile
  }

  put(task) {
    const { id, summary, status, steps, approval, result, detail } = task;
    const mine = steps.map((step) => ({ id: step.id, title: step.title, status: step.status }));
    this.card(id).show({ summary, status, steps: mine, approval, result, detail });
  }

  /** A message of the socket, of those that are about tasks. */
  take(message) {
    const { type, task_id: id } = message;
    if (type === "task_status_snapshot") {
      const known = [...message.active, ...message.awaiting_approval, ...message.planned];
      const ids = new Set([...known.map((task) => task.task_id), ...this.cards.keys()]);
      for (const one of ids) this.reload(one);
      return;
    }
    const card = this.card(id);
    card.heard += 1;
    if (!card.task.summary && type !== "task_created") this.reload(id); // from before we came
    const now = {};
    if (message.status) now.status = message.status;
    if (now.status && now.status !== "awaiting_approval") now.approval = null;
    if (type === "task_created") now.summary = message.summary;
    else if (type === "task_plan_graph") {
      now.steps = message.nodes.map((node) => ({ id: `${id}.${node.id}`, title: node.title, status: node.status }));
    } else if (type === "task_plan_delta") now.note = message.text_delta ?? "";
    else if (type === "task_step_started") {
      Object.assign(now, { status: "running", approval: null, note: "", steps: card.marked(message.step_id, "running") });
    } else if (type === "task_step_log") now.note = message.text_delta.trim().slice(-LOG_CHARS);
    else if (type === "task_step_completed") now.steps = card.marked(message.step_id, "completed");
    else if (type === "task_waiting_approval") {
      const { approval_id, prompt } = message;
      now.steps = card.marked(message.step_id, "awaiting_approval");
      Object.assign(now, { status: "awaiting_approval", approval: { approval_id, prompt }, note: "" });
    } else if (type === "task_completed") Object.assign(now, { result: message.result, note: "" });
    else if (type === "task_failed") {
      Object.assign(now, { detail: message.detail, note: "", steps: card.marked(message.step_id, message.status) });
    }
    card.show(now);
  }

  card(id) {
    let card = this.cards.get(id);
    if (!card) {
      card = new Card(this, id);
      this.cards.set(id, card);
      this.list.append(card.item);
      this.root.hidden = false;
    }
    return card;
  }

  /** Take away what has ended: the conversation goes on. */
  settle() {
    for (const card of this.cards.values()) if (ENDED.has(card.task.status)) this.drop(card);
  }

  clear() {
    this.rest();
    for (const card of this.cards.values()) this.drop(card);
    this.past.clear();
    set(this.news, "");
  }

  drop(card) {
    card.item.remove();
    this.cards.delete(card.id);
    this.past.add(card.id);
    this.root.hidden = !this.cards.size;
  }

  /** A yes or no from the keyboard, if exactly one question is open and had time to be read. */
  answerByKey(approved) {
    const open = [...this.cards.values()].filter((card) => card.task.approval);
    if (open.length !== 1 || performance.now() - open[0].askedAt < STEADY_MS) return false;
    open[0].answer(approved);
    return true;
  }
}

class Card {
  constructor(board, id) {
    Object.assign(this, { board, id, busy: false, askedAt: 0, heard: 0 });
    this.task = { summary: "", status: "planned", steps: [], approval: null, note: "", result: "", detail: "" };
    this.item = make("li", "task");
    this.item.tabIndex = -1;
    this.name = make("h3", "task-name");
    this.state = make("span", "task-state");
    this.stop = this.button("quiet", "Cancel", () => this.act("/cancel", { reason: "Cancelled on the page." }));
    const head = make("div", "task-head");
    head.append(this.name, this.state, this.stop);
    this.steps = make("ol", "steps");
    this.note = make("p", "task-note");
    this.asks = make("p", "asks");
    this.asks.id = `asks-${id}`;
    this.question = make("div", "question");
    this.question.hidden = true;
    this.question.setAttribute("role", "group");
    this.question.setAttribute("aria-labelledby", this.asks.id);
    this.yes = this.button("primary", "Approve", () => this.answer(true));
    this.no = this.button("stop", "Deny", () => this.answer(false));
    for (const button of [this.yes, this.no]) button.setAttribute("aria-describedby", this.asks.id);
    const acts = make("div", "task-acts");
    acts.append(this.yes, this.no);
    this.question.append(this.asks, acts);
    this.result = make("p", "task-result text");
    this.problem = make("p", "error");
    this.problem.setAttribute("role", "alert");
    this.item.append(head, this.steps, this.note, this.question, this.result, this.problem);
  }

  button(className, text, press) {
    const button = make("button", className, text);
    button.type = "button";
    button.addEventListener("click", press);
    return button;
  }

  /** The steps, one of them with another status. */
  marked(id, status) {
    return this.task.steps.map((step) => step.id === id ? { ...step, status } : step);
  }

  show(now) {
    const before = this.task;
    const task = this.task = { ...before, ...now };
    const over = ENDED.has(task.status);
    const name = task.summary || "A task";
    set(this.name, name);
    set(this.state, STATES[task.status]);
    this.item.dataset.status = task.status;
    this.stop.hidden = over;
    this.stop.setAttribute("aria-label", `Cancel ${name}`);
    this.drawSteps();
    set(this.note, over ? "" : task.note);
    set(this.result, (task.status === "completed" ? task.result : over ? task.detail : "") ?? "");
    if (task.approval?.approval_id !== before.approval?.approval_id) this.ask(task.approval);
    if (task.approval && !before.approval) this.tell(`Approval needed: ${task.approval.prompt}`);
    else if (task.status !== before.status) this.tell(`${name}: ${STATES[task.status]}`);
  }

  drawSteps() {
    const { steps } = this.task;
    while (this.steps.children.length > steps.length) this.steps.lastChild.remove();
    steps.forEach((step, place) => {
      const line = this.steps.children[place] ?? this.steps.appendChild(make("li"));
      line.dataset.status = step.status;
      set(line, `${step.title} (${STEPS[step.status]})`);
    });
  }

  ask(approval) {
    this.askedAt = performance.now();
    const held = this.question.contains(document.activeElement);
    this.question.hidden = !approval;
    set(this.asks, approval?.prompt ?? "");
    set(this.problem, "");
    if (held) this.item.focus(); // its button is gone, or asks something else now
  }

  tell(text) {
    set(this.board.news, text);
  }

  answer(approved) {
    const { approval } = this.task;
    if (!approval) return;
    this.act("/approve", { approved, approval_id: approval.approval_id, through: "panel" });
  }

  async act(what, body) {
    if (this.busy) return;
    this.busy = true;
    set(this.problem, "");
    try {
      this.board.put(await post(this.board.path(this.id, what), body));
    } catch (error) {
      await this.board.reload(this.id);
      set(this.problem, error instanceof HubError ? error.message : "The hub does not answer.");
    } finally {
      this.busy = false;
    }
  }
}
