// Tells what is to be seen in each frame of its page, as JSON in #seen. Judges nothing: the test does.
function box(element) {
  const { left, right, top, bottom } = element.getBoundingClientRect();
  return { left, right, top, bottom };
}
function visible(element) {
  return element.getClientRects().length > 0;
}
function label(text, scale) {
  return { text: text.textContent, size: parseFloat(getComputedStyle(text).fontSize) * scale, ...box(text) };
}
function drawing(svg) {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  const texts = (selector) => [...svg.querySelectorAll(selector)].map((text) => label(text, scale));
  return {
    ...box(svg),
    title: svg.querySelector("title").textContent,
    description: svg.querySelector("desc").textContent,
    x: texts(".axis.x text:not(.name)"),
    y: texts(".axis.y text:not(.name)"),
    texts: texts("text"),
    lines: Object.fromEntries(
      [...svg.querySelectorAll(".line")].map((line) => [
        line.dataset.name,
        [...line.querySelectorAll(".mark")].map((mark) => ({
          ...box(mark),
          invalid: mark.classList.contains("invalid"),
          title: mark.querySelector("title")?.textContent ?? "",
        })),
      ]),
    ),
    bars: [...svg.querySelectorAll(".bar")].map((bar) => ({
      label: bar.querySelector(".label").textContent,
      reading: bar.querySelector(".reading").textContent,
      parts: [...bar.querySelectorAll(".part")].map(box),
    })),
  };
}
function rows(table) {
  return [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
}
function colours(root, selector) {
  const element = root.querySelector(selector);
  const style = getComputedStyle(element);
  let behind = element;
  while (behind.parentElement && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") {
    behind = behind.parentElement;
  }
  return { text: element.tagName === "text" ? style.fill : style.color, behind: getComputedStyle(behind).backgroundColor };
}
function look(frame) {
  const page = frame.contentDocument;
  const figures = [...page.querySelectorAll("figure")].map((figure) => {
    const shown = [...figure.querySelectorAll("svg:not(.key)")].filter(visible);
    return [
      figure.id,
      {
        caption: figure.querySelector("figcaption").textContent,
        made: [...figure.querySelectorAll(".made code")].map((code) => code.textContent),
        notes: [...figure.querySelectorAll(".note")].map((note) => note.textContent),
        legend: [...figure.querySelectorAll(".legend li")].map((entry) => entry.textContent.trim()),
        drawings: shown.map(drawing),
        rows: rows(figure.querySelector("table")),
      },
    ];
  });
  const selectors = ["h1", ".about", ".missed .badge", ".unproven .badge", ".met .badge", "summary", ".made", "figure svg text"];
  return {
    title: page.title,
    width: frame.clientWidth,
    needed: page.documentElement.scrollWidth,
    scripts: page.scripts.length,
    fetched: frame.contentWindow.performance.getEntriesByType("resource").length,
    verdicts: rows(page.querySelector(".verdicts")),
    absent: [...page.querySelectorAll(".absent")].map((line) => line.textContent),
    facts: [...page.querySelectorAll(".facts dd")].map((fact) => fact.textContent),
    figures: Object.fromEntries(figures),
    colours: Object.fromEntries(selectors.map((selector) => [selector, colours(page, selector)])),
  };
}
window.addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")];
  const seen = Object.fromEntries(frames.map((frame) => [frame.name, look(frame)]));
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
