// The form: for each feature a slider and a field, a switch, a list of categories or a text. What stands in the field is what is asked, also when it
// is no number: what is wrong with it the service says better.

const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const SHOWN = 12; // features; the rest is folded away
const STEPS = 1000; // that a slider's range is rounded to

export class Question {
  constructor(features, changed) {
    this.fields = features.map((feature, index) => new (KINDS[feature.kind] ?? NumberField)(feature, index, changed));
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

// What all kinds of fields have: a name, a description, and a box that leaves the value out.
class Field {
  constructor(template, feature, index, changed) {
    this.feature = feature;
    this.element = document.getElementById(template).content.firstElementChild.cloneNode(true);
    this.control = this.element.querySelector(".control");
    this.name(this.element.querySelector("label"), `feature-${index}`);
    this.control.addEventListener("input", changed);
    if (feature.missing) this.offerNone(index, changed);
  }

  name(label, id) {
    const { name, unit, description } = this.feature;
    label.textContent = unit ? `${name} (${unit})` : name;
    label.id = `${id}-label`;
    label.htmlFor = this.control.id = id;
    this.control.setAttribute("aria-describedby", "problem");
    if (!description) return;
    const words = document.createElement("p");
    [words.className, words.id, words.textContent] = ["description", `${id}-description`, description];
    this.control.setAttribute("aria-describedby", `${words.id} problem`);
    this.element.append(words);
  }

  offerNone(index, changed) {
    const line = document.getElementById("none").content.firstElementChild.cloneNode(true);
    this.none = line.querySelector("input");
    this.none.id = `feature-${index}-none`;
    this.none.setAttribute("aria-label", `no value of ${this.feature.name}`);
    this.element.append(line);
    this.none.addEventListener("input", () => {
      this.tellNone();
      changed();
    });
  }

  tellNone() {
    for (const each of this.element.querySelectorAll(".control, [type=range]")) each.disabled = this.none.checked;
  }

  reset() {
    if (this.none) {
      this.none.checked = false;
      this.tellNone();
    }
    this.begin();
  }

  literal() {
    return this.none?.checked ? "null" : this.value();
  }

  mark(wrong) {
    this.control.setAttribute("aria-invalid", wrong);
  }
}

class SwitchField extends Field {
  constructor(feature, index, changed) {
    super("switch-field", feature, index, changed);
    this.reset();
  }

  begin() {
    this.control.checked = this.feature.quantiles["0.5"] >= 0.5;
  }

  value() {
    return String(this.control.checked);
  }
}

class TextField extends Field {
  constructor(feature, index, changed) {
    super("text-field", feature, index, changed);
    this.reset();
  }

  begin() {
    this.control.value = "";
  }

  value() {
    return JSON.stringify(this.control.value);
  }
}

// A list of the known categories. Where there are others, a field appears for their name.
class CategoryField extends Field {
  constructor(feature, index, changed) {
    super("category-field", feature, index, changed);
    feature.categories.forEach((name) => this.control.add(new Option(name)));
    this.other = this.element.querySelector("input.other");
    this.other.setAttribute("aria-label", `another ${feature.name}`);
    this.other.addEventListener("input", changed);
    if (feature.unknown || feature.rare) this.control.add(new Option("another …"));
    this.control.addEventListener("input", () => this.tellOther());
    this.reset();
  }

  get isOther() {
    return this.control.selectedIndex >= this.feature.categories.length;
  }

  tellOther() {
    this.other.hidden = !this.isOther;
  }

  begin() {
    this.control.selectedIndex = 0;
    this.other.value = "";
    this.tellOther();
  }

  value() {
    return JSON.stringify(this.isOther ? this.other.value : this.feature.categories[this.control.selectedIndex]);
  }
}

class NumberField extends Field {
  constructor(feature, index, changed) {
    super("field", feature, index, changed);
    this.decimals = decimals(feature);
    this.text = this.control;
    this.slider = this.element.querySelector("[type=range]");
    this.slider.setAttribute("aria-labelledby", `feature-${index}-label`);
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
    });
  }

  drawRange() {
    const { minimum, maximum, quantiles } = this.feature;
    [this.slider.min, this.slider.max] = [minimum, maximum];
    const [low, high] = this.element.querySelectorAll(".ends span");
    [low.textContent, high.textContent] = [this.readable(minimum), this.readable(maximum)];
    const share = (value) => (maximum > minimum ? (value - minimum) / (maximum - minimum) : 0);
    const half = this.element.querySelector(".half");
    half.style.setProperty("--from", share(quantiles["0.25"] ?? minimum));
    half.style.setProperty("--to", share(quantiles["0.75"] ?? minimum));
  }

  begin() {
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

  // A large number with its thousands apart.
  readable(number) {
    return number.toLocaleString("en", { maximumFractionDigits: this.decimals });
  }

  value() {
    const text = this.text.value.trim();
    if (JSON_NUMBER.test(text)) return text;
    if (!text) return "null";
    return Number.isFinite(Number(text)) ? String(Number(text)) : JSON.stringify(text);
  }
}

const KINDS = { boolean: SwitchField, category: CategoryField, text: TextField };

// Return how many decimals tell a slider's steps apart: none for a feature that seems to be counted.
function decimals({ minimum, maximum, quantiles, bins }) {
  const seen = [minimum, maximum, ...Object.values(quantiles), ...bins.edges];
  if (seen.every(Number.isInteger)) return 0;
  const digits = Math.ceil(Math.log10(STEPS / (maximum - minimum || Math.abs(maximum))));
  return Math.min(Math.max(digits, 0), 20);
}
