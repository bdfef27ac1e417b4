// `<button data-copy="text">` puts its text on the clipboard and says so, also to a screen reader.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const use = button.querySelector("use");
  const before = use.getAttribute("href");
  const label = button.getAttribute("aria-label");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    // No permission or no TLS: select the text instead, so that Ctrl C works.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    return;
  }
  use.setAttribute("href", before.replace(/#.*/, "#tabler-check"));
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    use.setAttribute("href", before);
    button.setAttribute("aria-label", label);
  }, 1500);
});
