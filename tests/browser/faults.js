// Evaluated in the page: what would stop somebody who can't see it, or not well. Returns strings.
() => {
  const faults = [];
  const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const name = (element) =>
    element.getAttribute("aria-label") ||
    (element.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("") ||
    [...(element.labels ?? [])].map((label) => label.textContent).join("") ||
    (element.matches("button, a") ? element.textContent : "");

  for (const element of document.querySelectorAll("button, a, input, textarea, select"))
    if (!name(element).trim() && element.getAttribute("aria-hidden") !== "true") faults.push(`no name: ${element.outerHTML.slice(0, 90)}`);
  for (const image of document.images) if (!image.hasAttribute("alt")) faults.push(`no alt: ${image.src}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.filter((other) => other === id).length > 1) faults.push(`id twice: ${id}`);
  if (!document.documentElement.lang) faults.push("no language");
  for (const tag of ["h1", "main", "header", "footer"])
    if (document.querySelectorAll(tag).length !== 1) faults.push(`not exactly one <${tag}>`);
  for (const button of document.querySelectorAll("button, label.chip")) {
    const box = button.getBoundingClientRect();
    if (seen(button) && Math.min(box.width, box.height) < 24) faults.push(`too small to hit: ${button.textContent}`);
  }

  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !seen(element) || element.disabled || element.closest(".face, .unseen, script, noscript")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(2)}: ${element.className} ${element.textContent.slice(0, 40)}`);
  }
  return faults;
}
