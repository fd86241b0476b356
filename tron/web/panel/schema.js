// JSON Schemas of the OpenAPI document, for people: as lists of fields, and as samples to send.
// Caller: reference.js. Text only ever becomes textContent.

import { make } from "./people.js";

const WORDS = { string: "text", integer: "whole number", boolean: "true or false", null: "null" };

// What a sample holds where the document gives no value; other optional fields are left out.
const SAMPLES = {
  role: "user", content: "Hello", model: "tony", model_id: "tony", agent_id: "tony",
  activity: "journal", persona: "tony", domain: "demo.example.com", project: "demo", port: 3050,
};

/** A paragraph in which `this` is code. */
export function prose(className, text) {
  const paragraph = make("p", className);
  paragraph.append(...text.split("`").map((part, place) => place % 2 ? make("code", "", part) : part));
  return paragraph;
}

export function reader(components) {
  const resolve = (schema) => {
    if (!schema?.$ref) return schema ?? {};
    const { $ref, ...beside } = schema; // a description beside a reference is the field's own
    return { ...resolve(components[$ref.split("/").pop()]), ...beside };
  };

  /** In words: `list of text`, `whole number, 1 to 90, or null`. */
  function type(given) {
    const schema = resolve(given);
    if ("const" in schema) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
    const several = schema.anyOf ?? schema.oneOf;
    if (several) return [...new Set(several.map(type))].join(" or ");
    return [bare(schema), ...limits(schema)].join(", ");
  }

  function bare(schema) {
    if (schema.type === "array") return schema.items ? `list of ${type(schema.items)}` : "list";
    if (schema.type !== "object") return WORDS[schema.type] ?? schema.type ?? "anything";
    if (schema.properties) return schema.title ?? "object";
    const values = schema.additionalProperties;
    return values?.type || values?.$ref ? `map of names to ${type(values)}` : "object";
  }

  /** The objects somewhere in `given` that have fields of their own. */
  function objects(given) {
    const schema = resolve(given);
    if (schema.properties) return [schema];
    const parts = [schema.items, ...(schema.anyOf ?? schema.oneOf ?? []), schema.additionalProperties];
    return parts.filter((part) => part && typeof part === "object").flatMap(objects);
  }

  function field(name, given, required, above) {
    const schema = resolve(given);
    const item = make("li");
    item.append(make("code", "name", name), make("span", "type", type(schema) + byDefault(schema)));
    if (required) item.append(make("span", "must", "required"));
    if (schema.description && !schema.properties) item.append(prose("meant", schema.description));
    item.append(...objects(schema).map((inner) => nested(inner, above)));
    return item;
  }

  function nested(schema, above) {
    const title = schema.title ?? "object";
    if (above.includes(title)) return make("p", "type", `${title} again, as above.`);
    const box = make("details", "inner");
    box.append(make("summary", "", `Fields of ${title}`));
    if (schema.description) box.append(prose("meant", schema.description));
    box.append(fields(schema, above));
    return box;
  }

  /** The fields of one object, those that must be given first. */
  function fields(schema, above = []) {
    const list = make("ul", "fields");
    const must = schema.required ?? [];
    const names = Object.keys(schema.properties).sort((a, b) => must.includes(b) - must.includes(a));
    const path = [...above, schema.title];
    list.append(...names.map((name) => field(name, schema.properties[name], must.includes(name), path)));
    return list;
  }

  /** A whole body or answer. */
  function show(given) {
    const schema = resolve(given);
    if (schema.properties) return [fields(schema)];
    return [make("p", "type", type(schema)), ...objects(schema).map((inner) => nested(inner, []))];
  }

  /** A parameter, as one more field. */
  const parameter = ({ name, in: place, required, schema, description }) =>
    field(name, { ...resolve(schema), description: description ?? `In the ${place}.` }, required, []);

  /** Something the hub would take. */
  function sample(given, name) {
    const schema = resolve(given);
    const ready = schema.examples?.[0] ?? schema.example ?? schema.const ?? schema.enum?.[0] ?? schema.default;
    if (ready !== undefined && ready !== null) return ready;
    if (name in SAMPLES) return SAMPLES[name];
    const several = schema.anyOf ?? schema.oneOf;
    if (several) return sample(several[0], name);
    if (schema.type === "array") return schema.items ? [sample(schema.items)] : [];
    if (schema.type !== "object") return { integer: schema.minimum ?? 1, number: 1, boolean: true }[schema.type] ?? "…";
    const worth = ([key, value]) => schema.required?.includes(key) || key in SAMPLES || resolve(value).default;
    const parts = Object.entries(schema.properties ?? {}).filter(worth);
    return Object.fromEntries(parts.map(([key, value]) => [key, sample(value, key)]));
  }

  /** Names of all fields, for finding a route by them. */
  const names = (given) => objects(given).flatMap((schema) => Object.keys(schema.properties));

  return { show, parameter, fields, resolve, sample, names };
}

/** What to put for a parameter in a curl line; undefined: leave it out. */
export function stand(parameter) {
  if (parameter.name in SAMPLES) return String(SAMPLES[parameter.name]);
  return parameter.required ? parameter.name.toUpperCase() : undefined;
}

const byDefault = (schema) =>
  schema.default === undefined || schema.default === null ? "" : `, ${JSON.stringify(schema.default)} unless given`;

function limits(schema) {
  const parts = [];
  const between = (low, high, unit) => {
    if (low !== undefined && high !== undefined) parts.push(`${low} to ${high}${unit}`);
    else if (low !== undefined) parts.push(`at least ${low}${unit}`);
    else if (high !== undefined) parts.push(`at most ${high}${unit}`);
  };
  between(schema.minimum, schema.maximum, "");
  between(schema.minLength, schema.maxLength, " characters");
  between(schema.minItems, schema.maxItems, " items");
  return parts;
}
