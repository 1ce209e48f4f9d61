// The page: reads the model's card, then asks for a prediction whenever the form changes.

import { Answer } from "./answer.js";
import { showCard } from "./card.js";
import { Question } from "./question.js";

const PAUSE = 50; // milliseconds between two requests while a slider moves

const byId = (id) => document.getElementById(id);

async function start() {
  try {
    const response = await fetch("model");
    const said = await response.json();
    if (!response.ok) throw new Error(said.error.message);
    show(said);
  } catch (error) {
    byId("trouble").textContent = error.message;
    byId("trouble").hidden = false;
  }
}

function show(card) {
  document.title = card.name;
  byId("name").textContent = card.name;
  byId("purpose").textContent = `Predicts ${card.target} from ${card.features.length} features.`;
  byId("version").textContent = card.release.version;
  byId("digest").textContent = card.release.digest ?? "";
  showCard(card);
  const answer = new Answer(card);
  const question = new Question(card.features, soon(() => ask(question, answer)));
  byId("main").hidden = false;
  offerCopy();
  ask(question, answer);
}

// Return a function that has `action` done soon, once for all calls until then.
function soon(action) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      action();
    }, PAUSE);
  };
}

let running = new AbortController();

async function ask(question, answer) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const body = question.body();
  byId("curl").textContent = curl(body);
  try {
    const response = await fetch("predict", { method: "POST", body, signal });
    const said = await response.json();
    if (signal.aborted) return;
    question.mark(said.error);
    answer.show(said);
  } catch (error) {
    if (!signal.aborted) answer.fail(`The service does not answer: ${error.message}`);
  }
}

function curl(body) {
  const quoted = body.replaceAll("'", "'\\''");
  return `curl -d '${quoted}' ${new URL("predict", document.baseURI)}`;
}

function offerCopy() {
  if (!navigator.clipboard) return; // browsers have it on encrypted and local pages only
  byId("copy").hidden = false;
  byId("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("curl").textContent);
    byId("copy").textContent = "Copied";
    setTimeout(() => (byId("copy").textContent = "Copy"), 1500);
  });
}

start();
