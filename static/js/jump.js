// Ctrl K: a list of pages and pools (JSON in the page), filtered as you type. Anything else is a search for an error.
const dialog = document.getElementById("pw-jump-dialog");
const input = dialog.querySelector("input");
const list = dialog.querySelector("ul");
const places = JSON.parse(document.getElementById("pw-jump-data").textContent) ?? [];
const MOST = 12;
let active = 0;

function found(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = places.filter(({ label, hint }) => words.every((word) => `${label} ${hint}`.toLowerCase().includes(word)));
  hits.sort((a, b) => b.label.toLowerCase().startsWith(words[0] ?? "") - a.label.toLowerCase().startsWith(words[0] ?? ""));
  const shown = hits.slice(0, MOST);
  const query = text.trim();
  if (query) {
    shown.push({ label: `Search dead letters for “${query}”`, hint: "", url: dialog.dataset.search + encodeURIComponent(query) });
  }
  return shown;
}

function draw() {
  list.replaceChildren(
    ...found(input.value).map((place, index) => {
      const option = document.createElement("li");
      option.id = `pw-jump-${index}`;
      option.role = "option";
      option.dataset.url = place.url;
      option.append(place.label);
      if (place.hint) {
        const hint = document.createElement("span");
        hint.textContent = place.hint;
        option.append(hint);
      }
      return option;
    }),
  );
  mark(0);
}

function mark(index) {
  const options = [...list.children];
  active = Math.max(0, Math.min(index, options.length - 1));
  options.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
  input.setAttribute("aria-activedescendant", options[active]?.id ?? "");
  options[active]?.scrollIntoView({ block: "nearest" });
}

input.addEventListener("input", draw);
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") mark(active + 1);
  else if (event.key === "ArrowUp") mark(active - 1);
  else if (event.key === "Enter") {
    const url = list.children[active]?.dataset.url;
    if (url) location.assign(url);
  } else return;
  event.preventDefault();
});
list.addEventListener("click", (event) => {
  const url = event.target.closest("li")?.dataset.url;
  if (url) location.assign(url);
});
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    event.preventDefault();
    if (dialog.open) dialog.close();
    else document.querySelector("[data-dialog=pw-jump-dialog]").click();
  }
});
dialog.addEventListener("close", () => {
  input.value = "";
  draw();
});
draw();
