// Keeps `<time data-ago>` true between two answers of the server, by the rules of controlplane/wording.py `age`
// and by the server's clock; and shows `<time data-clock>` in local time to whoever chose that in this browser. What is
// on hover stays the exact time in UTC.
const skew = Number(document.body.dataset.now) * 1000 - Date.now();

function age(then, short) {
  const seconds = Math.trunc((Date.now() + skew - then) / 1000);
  const distance = Math.abs(seconds);
  let text;
  if (distance < 60) text = `${distance} s`;
  else if (distance < 6000) text = `${Math.floor(distance / 60)} min`;
  else if (distance < 172800) text = `${Math.floor(distance / 3600)} h`;
  else text = `${Math.floor(distance / 86400)} d`;
  if (short) return text;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = age(Date.parse(time.dateTime), time.dataset.ago === "short");
    if (time.textContent !== text) time.textContent = text;
  }
}, 1000);

const ZONE = "pw_zone";
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const local = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "shortOffset" });
const isLocal = () => localStorage.getItem(ZONE) === "local";

function showClocks() {
  for (const time of document.querySelectorAll("time[data-clock]")) {
    time.dataset.clock ||= time.textContent; // as the server wrote it
    const text = isLocal() ? local.format(Date.parse(time.dateTime)) : time.dataset.clock;
    if (time.textContent !== text) time.textContent = text;
  }
  for (const button of document.querySelectorAll("[data-zone-toggle]")) {
    button.querySelector("span").textContent = isLocal() ? `Times are local, ${zone}. Show UTC` : "Times are UTC. Show local time";
  }
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-zone-toggle]")) return;
  localStorage.setItem(ZONE, isLocal() ? "utc" : "local");
  showClocks();
});
for (const news of ["pw:live", "htmx:after:swap"]) document.addEventListener(news, showClocks);
addEventListener("storage", showClocks);
showClocks();
