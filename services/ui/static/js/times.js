/** Writes every moment of the page in its reader's own time; the server wrote it in UTC. */

export function inOwnTime(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = time.textContent;
    time.textContent = at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
}

inOwnTime(document);
