// Live updates: parts of the page are replaced by what the server rendered anew, by their id.
// The page reads and acts without this script.
"use strict";
(() => {
  const status = document.getElementById("live-status");
  const { liveSince: since } = document.body.dataset;
  let after = document.body.dataset.liveAfter;

  // Counts the time that is left between two updates.
  const words = (seconds) => {
    const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
    if (minutes === 0) return `${seconds} s`;
    if (hours === 0) return minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
    if (days === 0) return `${hours} h ${minutes % 60} min`;
    return `${days} d ${hours % 24} h`;
  };
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Math.floor((Date.parse(time.dataset.until) - Date.now()) / 1000);
      time.textContent = left <= 0 ? "due" : `${words(left)} left`;
    }
  }, 1000);

  if (after === undefined || !window.EventSource) return;

  const replace = ({ id, html }) => {
    const old = document.getElementById(id);
    if (!old) return;
    // A row of a table survives only in a template.
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild;
    if (!fresh) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
    old.replaceWith(fresh);
    for (const details of opened) document.getElementById(details)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };

  let source = null;
  let ended = false;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || ended) return;
    const view = encodeURIComponent(location.pathname + location.search);
    source = new EventSource(`/live?after=${after}&since=${since}&view=${view}`);
    const update = (event) => {
      if (event.lastEventId) after = event.lastEventId;
      const { parts, say } = JSON.parse(event.data);
      parts.forEach(replace);
      if (say) status.textContent = say;
    };
    source.addEventListener("update", update);
    source.addEventListener("end", (event) => {
      update(event);
      close();
      ended = true;
    });
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) {
        close();
        status.textContent = "Live updates have stopped. Reload the page to see the present state.";
      }
    });
  };

  // A browser holds six connections to an origin over HTTP/1.1: hidden tabs give theirs back.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", () => document.hidden || open());
  if (!document.hidden) open();
})();
