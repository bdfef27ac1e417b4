// Keeps `<time data-ago>` true between two answers of the server, by the rules of controlplane/wording.py `age`
// and by the server's clock.
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
