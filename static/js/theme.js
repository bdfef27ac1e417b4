// Light, dark, or as the system has it. Loaded in the head, blocking and tiny, so that the first paint is right.
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  const apply = () => {
    const chosen = root.dataset.pwTheme;
    const shown = chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light";
    if (root.dataset.bsTheme !== shown) root.dataset.bsTheme = shown;
    document.dispatchEvent(new CustomEvent("pw:theme", { detail: shown }));
  };

  const choose = (theme) => {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `pw_theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
    root.dataset.pwTheme = theme;
    apply();
  };

  root.classList.add("pw-js-on");
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-toggle]")) choose(root.dataset.bsTheme === "dark" ? "light" : "dark");
    const set = event.target.closest("[data-theme-set]");
    if (set) choose(set.dataset.themeSet);
  });
}
