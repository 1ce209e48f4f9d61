// The form: a slider and a field for each feature. What stands in the field is what is asked, also when it
// is no number: what is wrong with it the service says better.

const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const SHOWN = 12; // features; the rest is folded away
const STEPS = 1000; // that a slider's range is rounded to

export class Question {
  constructor(features, changed) {
    this.fields = features.map((feature, index) => new Field(feature, index, changed));
    const [first, more] = document.querySelectorAll(".fields");
    this.fields.forEach((field, index) => (index < SHOWN ? first : more).append(field.element));
    const folded = features.length - SHOWN;
    more.parentElement.hidden = folded <= 0;
    more.parentElement.querySelector("summary").textContent = `${folded} more features`;
    const form = document.getElementById("question");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      this.fields.forEach((field) => field.reset());
      changed();
    });
  }

  body() {
    return `{"features":[${this.fields.map((field) => field.literal()).join(",")}]}`;
  }

  // Mark the field that the service's error is about, if it is about one.
  mark(error) {
    this.fields.forEach((field, index) => field.mark(error?.input === `features[${index}]`));
  }
}

class Field {
  constructor(feature, index, changed) {
    this.feature = feature;
    this.decimals = decimals(feature);
    this.element = document.getElementById("field").content.firstElementChild.cloneNode(true);
    [this.text, this.slider] = this.element.querySelectorAll("input");
    this.name(this.element.querySelector("label"), `feature-${index}`);
    this.drawRange();
    this.reset();
    this.slider.addEventListener("input", () => {
      this.put(this.slider.valueAsNumber);
      changed();
    });
    this.text.addEventListener("input", () => {
      const number = Number(this.text.value);
      if (this.text.value.trim() && Number.isFinite(number)) this.slider.value = number;
      this.tell();
      changed();
    });
  }

  name(label, id) {
    label.textContent = this.feature.name;
    label.id = `${id}-label`;
    label.htmlFor = this.text.id = id;
    this.slider.setAttribute("aria-labelledby", label.id);
    this.text.setAttribute("aria-describedby", "problem");
  }

  drawRange() {
    const { minimum, maximum, quantiles } = this.feature;
    [this.slider.min, this.slider.max] = [minimum, maximum];
    const [low, high] = this.element.querySelectorAll(".ends span");
    [low.textContent, high.textContent] = [this.rounded(minimum), this.rounded(maximum)];
    const share = (value) => (maximum > minimum ? (value - minimum) / (maximum - minimum) : 0);
    const half = this.element.querySelector(".half");
    half.style.setProperty("--from", share(quantiles["0.25"] ?? minimum));
    half.style.setProperty("--to", share(quantiles["0.75"] ?? minimum));
  }

  reset() {
    const median = this.feature.quantiles["0.5"];
    this.slider.value = median;
    this.put(median);
  }

  put(number) {
    this.text.value = this.rounded(number);
    this.tell();
  }

  tell() {
    this.slider.setAttribute("aria-valuetext", this.text.value);
  }

  rounded(number) {
    return number.toFixed(this.decimals);
  }

  literal() {
    const text = this.text.value.trim();
    if (JSON_NUMBER.test(text)) return text;
    if (!text) return "null";
    return Number.isFinite(Number(text)) ? String(Number(text)) : JSON.stringify(text);
  }

  mark(wrong) {
    this.text.setAttribute("aria-invalid", wrong);
  }
}

// Return how many decimals tell a slider's steps apart: none for a feature that seems to be counted.
function decimals({ minimum, maximum, quantiles, bins }) {
  const seen = [minimum, maximum, ...Object.values(quantiles), ...bins.edges];
  if (seen.every(Number.isInteger)) return 0;
  const digits = Math.ceil(Math.log10(STEPS / (maximum - minimum || Math.abs(maximum))));
  return Math.min(Math.max(digits, 0), 20);
}
