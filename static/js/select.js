// Selecting rows: `input[data-row]` (its `data-weight` adds up), `input[data-row-all]` for the page, Shift for a range,
// and the bulk bar, whose words and buttons carry the counts. All state is in the checkboxes, so a refresh keeps it.
const bar = () => document.querySelector("[data-bulk]");
const rows = () => [...document.querySelectorAll("input[data-row]")];
let last = null;

const number = (value) => value.toLocaleString("en-US");
// "job|jobs" is a noun in both numbers.
const noun = (count, words) => words.split("|").at(count === 1 ? 0 : -1);
const weight = (boxes) => boxes.reduce((sum, box) => sum + Number(box.dataset.weight ?? 1), 0);

document.addEventListener("click", (event) => {
  const box = event.target.closest?.("input[data-row]");
  if (box) {
    const all = rows();
    const [from, to] = [all.indexOf(last), all.indexOf(box)];
    if (event.shiftKey && from >= 0) {
      for (const between of all.slice(Math.min(from, to), Math.max(from, to) + 1)) between.checked = box.checked;
    }
    last = box;
    unmatch();
    sync();
  }
  if (event.target.closest?.("[data-bulk-clear]")) {
    for (const each of rows()) each.checked = false;
    unmatch();
    sync();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("input[data-row-all]")) {
    for (const box of rows()) box.checked = event.target.checked;
    unmatch();
    sync();
  } else if (event.target.matches("[data-bulk-all]")) sync();
});

function unmatch() {
  const all = bar()?.querySelector("[data-bulk-all]");
  if (all) all.checked = false;
}

function sync() {
  const element = bar();
  if (!element) return;
  const boxes = rows();
  const chosen = boxes.filter((box) => box.checked);
  for (const all of document.querySelectorAll("input[data-row-all]")) {
    all.checked = chosen.length > 0 && chosen.length === boxes.length;
    all.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
  }
  const everything = element.querySelector("[data-bulk-all]:checked");
  const count = everything ? Number(everything.dataset.rows) : chosen.length;
  const total = everything ? Number(everything.dataset.weight) : weight(chosen);
  element.hidden = !chosen.length;
  write(element.querySelector("[data-bulk-rows]"), `${number(count)} ${noun(count, element.dataset.rows)} selected`);
  const unit = element.dataset.weight;
  write(element.querySelector("[data-bulk-weight]"), unit ? `${number(total)} ${noun(total, unit)}` : "");
  for (const button of element.querySelectorAll("[data-count]")) {
    const words = button.dataset.count.replace("{n}", number(total)).replace(/\{(.+?)\}/, (_, both) => noun(total, both));
    write(button.querySelector("span") ?? button, words);
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

document.addEventListener("pw:live", sync);
addEventListener("pageshow", sync);
sync();
