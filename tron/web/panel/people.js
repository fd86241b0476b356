// The cards of who lives here, and what each did last.

const UNITS = [[86_400, "day"], [3_600, "hour"], [60, "minute"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** A persona's own colour, the same everywhere: spread around the wheel by its place. */
export const hue = (place) => (172 + place * 73) % 360;

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function avatar(person, place) {
  const face = make("span", "face", person.name.slice(0, 1));
  face.setAttribute("aria-hidden", "true");
  face.style.setProperty("--hue", hue(place));
  return face;
}

/** A person to choose, as one radio of a group. */
export function chip(person, place, choose) {
  const label = make("label", "chip");
  const radio = make("input", "unseen");
  Object.assign(radio, { type: "radio", name: "agent", value: person.id });
  radio.addEventListener("change", () => choose(person.id));
  label.append(radio, avatar(person, place), make("span", "", person.name));
  return label;
}

function ago(iso) {
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  const [size, unit] = UNITS.find(([size]) => Math.abs(seconds) >= size) ?? [];
  return unit ? relative.format(Math.round(seconds / size), unit) : "just now";
}

function latest(person) {
  if (!person.latest) return make("p", "latest none", "Nothing written yet.");
  return make("blockquote", "latest", person.latest.text);
}

function foot(person) {
  const line = make("p", "card-foot");
  line.append(make("span", person.active ? "life on" : "life", person.active ? "living their day" : "at rest"));
  if (person.latest) {
    const when = make("time", "", `${person.latest.kind.replace("_", " ")}, ${ago(person.latest.at)}`);
    when.dateTime = person.latest.at;
    line.append(when);
  }
  return line;
}

function card(person, place, talk) {
  const item = make("li", "card");
  item.style.setProperty("--hue", hue(place));
  const who = make("div", "who");
  const name = make("h3", "", person.name);
  who.append(name, make("p", "title", person.title));
  const button = make("button", "quiet", "Talk");
  button.type = "button";
  button.setAttribute("aria-label", `Talk to ${person.name}`);
  button.addEventListener("click", () => talk(person.id));
  const head = make("div", "card-head");
  head.append(avatar(person, place), who, button);
  item.append(head, make("p", "focus", person.focus.join(" · ")), latest(person), foot(person));
  return item;
}

let shown = "";

/** Draw the cards, unless nothing changed: a button must not vanish under somebody's finger. */
export function showPeople(people, talk) {
  document.getElementById("people-empty").hidden = people.length > 0;
  const now = JSON.stringify([people, people.map((person) => person.latest && ago(person.latest.at))]);
  if (now === shown) return;
  shown = now;
  const list = document.getElementById("people");
  const focused = [...list.querySelectorAll("button")].indexOf(document.activeElement);
  list.replaceChildren(...people.map((person, place) => card(person, place, talk)));
  if (focused >= 0) list.querySelectorAll("button")[focused]?.focus();
}
