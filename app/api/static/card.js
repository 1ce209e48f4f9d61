// The model's card, and the plots that training made.

const METRICS = { roc_auc: "ROC AUC", r2: "R²", f1: "F1", mae: "MAE", rmse: "RMSE" };
const PLOTS = {
  "roc.svg": "Found against falsely found, over all thresholds",
  "calibration.svg": "How often it is so when the model says so",
  "residuals.svg": "What the prediction misses",
  "classes.svg": "How many of each class are recognised",
};
const MOST_BARS = 20;

export function showCard(card) {
  fill("metrics", metrics(card));
  showImportance(card);
  fill("facts", facts(card));
  plotNames(card).forEach(showPlot);
}

// What each feature adds, the one that adds most first; of very many only some.
function showImportance({ features, metrics }) {
  const known = features.filter(({ importance }) => importance != null).sort((a, b) => b.importance - a.importance);
  const figure = document.getElementById("importance");
  figure.hidden = !known.length;
  if (!known.length) return;
  const [metric] = Object.keys(metrics);
  const of = known.length > MOST_BARS ? `; the ${MOST_BARS} largest of ${known.length}` : "";
  figure.querySelector("span").textContent =
    `How much ${metricName(metric)} is lost when a feature's values are shuffled among the rows held out${of}`;
  const most = Math.max(known[0].importance, Number.MIN_VALUE);
  figure.querySelector("dl").replaceChildren(...known.slice(0, MOST_BARS).map(({ name, importance }) => {
    const entry = pair(name, importance.toLocaleString("en", { maximumSignificantDigits: 2 }));
    entry.style.setProperty("--share", Math.max(0, importance) / most);
    return entry;
  }));
}

function metricName(name) {
  return METRICS[name] ?? name.replaceAll("_", " ");
}

function* metrics({ metrics, rows }) {
  for (const [name, value] of Object.entries(metrics)) {
    yield [metricName(name), value.toLocaleString("en", { maximumSignificantDigits: 4 })];
  }
  yield ["rows trained on", rows.train?.toLocaleString("en")];
  yield ["rows held out", rows.test?.toLocaleString("en")];
}

function* facts(card) {
  yield ["Task", `${card.task} of ${card.target}`];
  if (card.classes.length) yield ["Classes", card.classes.join(", ")];
  if (card.positive !== null) yield ["Positive class", card.positive];
  yield ["Features", card.features.map(({ name }) => name).join(", ")];
  yield ["Served as", servedAs(card)];
  if (card.portable) yield ["Portable model", code(card.portable.sha256)];
  yield ["Pickle", code(card.artifact_sha256)];
  yield ["Data", code(card.data_sha256)];
  yield ["Golden rows", code(card.golden_sha256)];
  yield ["Made with", Object.entries(card.libraries).map(([name, version]) => `${name} ${version}`).join(", ")];
}

function servedAs({ portable, not_portable }) {
  if (portable) return `portable model, format ${portable.format}, ${portable.nodes} nodes or coefficients`;
  return `scikit-learn estimator: ${not_portable}`;
}

function plotNames({ positive, classes }) {
  if (positive !== null) return ["roc.svg", "calibration.svg"];
  return classes.length ? ["classes.svg"] : ["residuals.svg"];
}

// Put a plot into the page itself, so that it takes the page's colours. One that was not made is left out.
async function showPlot(name) {
  const figure = document.createElement("figure");
  document.getElementById("plots").append(figure);
  const response = await fetch(`model/${name}`);
  if (!response.ok) {
    figure.remove();
    return;
  }
  const plot = new DOMParser().parseFromString(await response.text(), "image/svg+xml").documentElement;
  const caption = document.createElement("figcaption");
  const title = document.createElement("strong");
  title.textContent = plot.querySelector("title").textContent;
  caption.append(title, ` ${PLOTS[name]}`);
  figure.append(caption, document.importNode(plot, true));
}

function fill(id, entries) {
  for (const [name, value] of entries) {
    if (value === undefined) continue;
    document.getElementById(id).append(pair(name, value));
  }
}

function pair(name, value) {
  const entry = document.createElement("div");
  const [term, description] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name;
  description.append(value);
  entry.append(term, description);
  return entry;
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}
