// Keeps the page of a saga as the saga is: when the SEC says that it has changed, what changes is fetched anew.
"use strict";
const live = document.getElementById("live");
if (live && live.dataset.events) {
  let fetching = false, again = false;
  const refresh = async () => {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const answer = await fetch(live.dataset.fragment);
      if (answer.ok) { live.innerHTML = await answer.text(); live.classList.remove("stale"); }
    } catch (error) {
      live.classList.add("stale");
    }
    setTimeout(() => { fetching = false; if (again) { again = false; refresh(); } }, 300);
  };
  const events = new EventSource(live.dataset.events);
  events.addEventListener("changed", refresh);
  events.addEventListener("ended", () => { refresh(); events.close(); });
  events.onerror = () => live.classList.add("stale");
  events.onopen = refresh;
}
