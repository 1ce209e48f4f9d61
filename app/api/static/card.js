// The model's card, and the plots that training made.

const METRICS = { roc_auc: "ROC AUC", r2: "R²", f1: "F1", mae: "MAE", rmse: "RMSE" };
const PLOTS = {
  "roc.svg": "Found against falsely found, over all thresholds",
  "calibration.svg": "How often it is so when the model says so",
  "residuals.svg": "What the prediction misses",
  "classes.svg": "How many of each class are recognised",
};

export function showCard(card) {
  fill("metrics", metrics(card));
  fill("facts", facts(card));
  plotNames(card).forEach(showPlot);
}

function* metrics({ metrics, rows }) {
  for (const [name, value] of Object.entries(metrics)) {
    yield [METRICS[name] ?? name.replaceAll("_", " "), value.toLocaleString("en", { maximumSignificantDigits: 4 })];
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
    const pair = document.createElement("div");
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    description.append(value);
    pair.append(term, description);
    document.getElementById(id).append(pair);
  }
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}
