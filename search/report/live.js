"use strict";
// Asks the page's own address for the page, and puts what has changed into place: no more than the report is.
(() => {
  const alive = document.getElementById("alive");
  const again = alive.dataset.again;
  const clock = () => new Date().toLocaleTimeString();
  let tag = "", changed = clock(), seen = changed;

  function say(words, tone) {
    if (alive.textContent !== words) alive.textContent = words;
    alive.className = "alive " + tone;
  }

  const withoutCounts = summary => summary.textContent.replace(/\d+/g, "");

  function put(text) {
    const next = new DOMParser().parseFromString(text, "text/html");
    const open = new Set([...document.querySelectorAll("details[open] > summary")].map(withoutCounts));
    for (const part of ["header", "main"]) {
      document.querySelector(part).replaceWith(document.adoptNode(next.querySelector(part)));
    }
    for (const summary of document.querySelectorAll("details > summary")) {
      if (open.has(withoutCounts(summary))) summary.parentElement.open = true;
    }
    document.title = next.title;
    document.getElementById("alive").dataset.over = next.getElementById("alive").dataset.over;
  }

  async function ask() {
    if (document.hidden) return;
    let answer;
    try {
      const headers = tag ? {"If-None-Match": tag} : {};
      answer = await fetch("/", {headers, cache: "no-store", signal: AbortSignal.timeout(20000)});
    } catch {
      say(`Not followed any more: its server has ended, or doesn't answer. This is the study at ${seen}. ` +
          `To follow it again: ${again}`, "ended");
      return;
    }
    const note = decodeURIComponent(answer.headers.get("X-Note") || "");
    const selecting = getSelection().toString() !== "";
    if (answer.status === 200 && !selecting) {
      put(await answer.text());
      tag = answer.headers.get("ETag");
      changed = clock();
    }
    if (!note) seen = clock();
    const word = alive.dataset.over === "yes" ? "The search is over." : "Follows the search.";
    if (note) say(`${note} This is the study at ${seen}.`, "behind");
    else say(`${word} Last change seen at ${changed}, looked at ${seen}.`, "fresh");
  }

  async function follow() {
    await ask();
    setTimeout(follow, Number(alive.dataset.every));
  }

  document.addEventListener("visibilitychange", ask);
  follow();
})();
