// The filter bar: suggestions for the word at the caret, as the ARIA combobox pattern has them. The server finds them
// and says what the whole line would be; without this script the bar is a text field in a form.
const input = document.querySelector("[data-suggest]");
const list = document.getElementById("filter-options");
const PAUSE = 120; // ms without a key before the server is asked
let timer = 0;
let asked = null;
let active = -1;

async function ask() {
  asked?.abort();
  asked = new AbortController();
  const query = new URLSearchParams({ filter: input.value, at: input.selectionStart });
  try {
    const answer = await fetch(`${input.dataset.suggest}?${query}`, { signal: asked.signal });
    if (!answer.ok || answer.redirected) return close();
    list.innerHTML = await answer.text();
  } catch {
    return; // a newer question, or nobody there: the field works as it is
  }
  mark(-1);
  show(document.activeElement === input && list.children.length > 0);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE);
}

function show(open) {
  list.hidden = !open;
  input.setAttribute("aria-expanded", String(open));
}

function close() {
  clearTimeout(timer);
  asked?.abort();
  mark(-1);
  show(false);
}

function mark(index) {
  const options = [...list.children];
  active = index;
  options.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
  if (options[active]) input.setAttribute("aria-activedescendant", options[active].id);
  else input.removeAttribute("aria-activedescendant");
  options[active]?.scrollIntoView({ block: "nearest" });
}

function take(option) {
  input.value = option.dataset.line;
  const caret = Number(option.dataset.caret);
  input.focus();
  input.setSelectionRange(caret, caret);
  close();
  ask();
}

function onKey({ key }) {
  const count = list.children.length;
  if (list.hidden) {
    if (key === "ArrowDown" || key === "ArrowUp") ask();
    return key === "ArrowDown" || key === "ArrowUp";
  }
  if (key === "ArrowDown") mark(active + 1 < count ? active + 1 : -1);
  else if (key === "ArrowUp") mark(active < 0 ? count - 1 : active - 1);
  else if (key === "Escape") close();
  else if ((key === "Enter" || key === "Tab") && active >= 0) take(list.children[active]);
  else return false;
  return true;
}

if (input) {
  input.addEventListener("input", soon);
  input.addEventListener("click", soon);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.isComposing) return;
    if (onKey(event)) event.preventDefault();
  });
  // The field keeps the focus while the mouse picks.
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) take(option);
  });
}
