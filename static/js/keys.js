// The keyboard. Rows are `tr`s (or others) that hold `[data-open]`, the link which opens them; the focused link is the
// row's mark, so the browser's own Enter, scrolling and screen reader follow. `data-key="r"` names a page's own key.
// `g` waits for the next key, however long: a slow hand or a slow machine gets where it wanted to go.
const help = document.getElementById("pw-keys-dialog");
const PLACES = { h: "/", p: "/pools/", d: "/dead-letters/", o: "/operations/", a: "/agents/", n: "/notifications/", s: "/secrets/", c: "/access/", l: "/audit/" };
let going = false;
let lastRow = -1;

const links = () => [...document.querySelectorAll("main [data-open]")].filter((link) => link.checkVisibility());
const rowOf = (element) => element?.closest("tr, li, article");
const placeLink = (key) => document.querySelector(`#pw-nav a[href="${PLACES[key]}"]`);
const isTyping = (element) => element.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

function move(step) {
  const all = links();
  if (!all.length) return;
  const row = rowOf(document.activeElement);
  const at = all.findIndex((link) => row && rowOf(link) === row);
  const from = at >= 0 ? at : lastRow >= 0 ? Math.min(lastRow, all.length) - (step > 0 ? 1 : 0) : -1;
  lastRow = Math.max(0, Math.min(from + step, all.length - 1));
  all[lastRow].focus();
}

function toggle(event) {
  const box = rowOf(document.activeElement)?.querySelector("input[data-row]");
  box?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, shiftKey: event.shiftKey }));
  return Boolean(box);
}

// A page's own key acts on the selection; without one, on the row that has the focus; without that, on the page's own
// subject, whose form takes the focus.
const act = (key) => [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)].some(press);

function press(button) {
  if (button.ariaDisabled === "true") return false;
  const box = rowOf(document.activeElement)?.querySelector("input[data-row]");
  if (button.closest("[data-bulk]") && !document.querySelector("input[data-row]:checked")) {
    if (!box) return false;
    box.click();
  }
  if (!button.checkVisibility()) return false;
  button[button.matches("textarea") ? "focus" : "click"]();
  return true;
}

function onKey(event) {
  const key = event.key;
  if (going) {
    going = false;
    const link = placeLink(key);
    if (link) link.click();
    return Boolean(link);
  }
  switch (key) {
    case "j": case "k": move(key === "j" ? 1 : -1); return true;
    case "x": case "X": return toggle(event);
    case "g": going = true; return true;
    case "t": document.querySelector("[data-theme-toggle]").click(); return true;
    case "u": document.querySelector("[data-zone-toggle]").click(); return true;
    case "?": openHelp(); return true;
    case "/": {
      const filter = document.querySelector("[data-filter]");
      filter?.focus();
      filter?.select?.();
      return Boolean(filter);
    }
    case "Escape": {
      const clear = document.querySelector("[data-bulk-clear]");
      if (clear?.checkVisibility()) clear.click();
      return false;
    }
    default: return act(key);
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (onKey(event)) event.preventDefault();
});

function line(keys, words) {
  const div = document.createElement("div");
  const dt = document.createElement("dt");
  const dd = document.createElement("dd");
  keys.forEach((key, index) => {
    const kbd = document.createElement("kbd");
    kbd.textContent = key.toUpperCase();
    dt.append(index ? " " : "", kbd);
  });
  dd.textContent = words;
  div.append(dt, dd);
  return div;
}

function openHelp() {
  const own = [...document.querySelectorAll("[data-key]")];
  const [heading, page] = help.querySelectorAll("[data-page-keys]");
  heading.hidden = page.hidden = !own.length;
  page.replaceChildren(...own.map((button) => line([button.dataset.key], button.dataset.keyLabel ?? button.textContent.trim())));
  const places = Object.keys(PLACES).filter(placeLink);
  help.querySelector("[data-goto-keys]").replaceChildren(
    ...places.map((key) => line(["g", key], placeLink(key).querySelector("span").textContent)),
  );
  if (!help.open) help.showModal();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-dialog=pw-keys-dialog]")) openHelp();
});
