// `data-dialog="ID"` on a link or button opens that <dialog>; without JavaScript the link leads to the verb's own page.
// `data-close` inside closes it, and so does a click on the backdrop. Esc and focus are the browser's own.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog) {
      event.preventDefault();
      dialog.showModal();
      dialog.querySelector("textarea, input:not([type=hidden])")?.focus();
    }
    return;
  }
  const inside = event.target.closest("dialog");
  if (inside && (event.target === inside ? outside(inside, event) : event.target.closest("[data-close]"))) {
    event.preventDefault();
    inside.close();
  }
});

// A press of the backdrop hits the dialog element itself, beyond its box.
function outside(dialog, { clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

// One press, one request: a second submit of the same form waits for the first one's answer.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  else form.dataset.sent = "1";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// A button whose `hx-target` lies in a dialog opens it with the answer. Without an answer for it (signed out, refused,
// unreachable) the form goes its ordinary way, so that nothing fails in silence.
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  const dialog = dialogOf(ctx);
  if (!dialog) return;
  if (!ctx.target.firstElementChild) return submit(ctx);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("textarea, input[required]:not([type=hidden], [type=radio])")?.focus();
});
for (const failure of ["htmx:response:error", "htmx:error"]) {
  document.addEventListener(failure, ({ detail: { ctx } }) => dialogOf(ctx) && submit(ctx));
}

function dialogOf(ctx) {
  return ctx?.target instanceof Element ? ctx.target.closest("dialog") : null;
}

function submit({ sourceElement }) {
  sourceElement.form?.requestSubmit(sourceElement);
}
