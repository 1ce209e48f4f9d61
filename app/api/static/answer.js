// The prediction: as text, as a gauge, and, when it rests, in words for those who listen.

const REST = 600; // milliseconds
const MOST_SEGMENTS = 24;

const byId = (id) => document.getElementById(id);

export class Answer {
  constructor(card) {
    this.card = card;
    this.least = Infinity;
    this.greatest = -Infinity;
  }

  // Show what the service said, be it a prediction or an error.
  show({ prediction, error }) {
    if (error) {
      this.fail(error.message);
      return;
    }
    byId("answer").classList.remove("failed");
    byId("problem").textContent = "";
    if (this.card.positive !== null) this.showProbability(prediction);
    else if (this.card.classes.length) this.showClass(prediction);
    else this.showNumber(prediction);
    this.say(`${byId("value").textContent} ${byId("meaning").textContent}`);
  }

  fail(sentence) {
    byId("answer").classList.add("failed");
    byId("problem").textContent = sentence;
    this.say(sentence);
  }

  showProbability(probability) {
    this.write(percent(probability), `probability of ${this.card.positive}`, probability);
    this.draw(probability, "0 %", "100 %");
  }

  showNumber(number) {
    this.write(rounded(number), `predicted ${this.card.target}`, number);
    this.least = Math.min(this.least, number);
    this.greatest = Math.max(this.greatest, number);
    const range = this.greatest - this.least;
    const share = range ? (number - this.least) / range : 0.5;
    this.draw(share, `least so far ${rounded(this.least)}`, `greatest so far ${rounded(this.greatest)}`);
  }

  showClass(index) {
    const { classes, target } = this.card;
    byId("value").classList.add("word");
    this.write(classes[index], `most likely ${target}`, index);
    byId("gauge").hidden = classes.length > MOST_SEGMENTS;
    if (byId("gauge").hidden) return;
    byId("gauge").classList.add("segments");
    byId("gauge").replaceChildren(...classes.map((_, place) => segment(place === index)));
    this.writeEnds(classes[0], classes.at(-1));
  }

  write(value, meaning, exact) {
    byId("value").textContent = value;
    byId("exact").textContent = `"prediction": ${exact}`;
    byId("meaning").textContent = meaning;
  }

  draw(share, low, high) {
    byId("gauge").style.setProperty("--share", share);
    this.writeEnds(low, high);
  }

  writeEnds(low, high) {
    const [first, last] = byId("ends").children;
    [first.textContent, last.textContent] = [low, high];
  }

  say(sentence) {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => (byId("spoken").textContent = sentence), REST);
  }
}

function segment(chosen) {
  const element = document.createElement("span");
  element.classList.toggle("chosen", chosen);
  return element;
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

function rounded(number) {
  return number.toLocaleString("en", { maximumSignificantDigits: 6 });
}
