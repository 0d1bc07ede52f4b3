// Two dates side by side: a change of slice, plane, date or overlay shows in both. Without this file the form does it.
"use strict";

for (const form of document.querySelectorAll("#beside")) {
  const scan = encodeURIComponent(form.dataset.scan);
  const figures = Object.fromEntries(["earlier", "now"].map((side) => [side, document.querySelector(`[data-side=${side}]`)]));
  const number = form.elements.number;
  let axes = {};
  let wanted = 0;
  let pending = 0;

  const address = (side) => {
    const path = side === "now" ? "segmentation" : `earlier/${encodeURIComponent(form.elements.earlier.value)}/slice`;
    return `/api/scans/${scan}/${path}/${Number(number.value) - 1}?axis=${form.elements.axis.value}&opacity=${form.elements.opacity.value / 100}`;
  };
  const fit = (image) => {
    image.parentElement.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
    image.parentElement.classList.toggle("tall", image.naturalHeight > image.naturalWidth);
  };

  async function show() {
    const mine = ++wanted;
    // Both pictures change at once, so that what is seen beside each other is always the same place.
    const next = Object.keys(figures).map((side) => Object.assign(new Image(), { src: address(side) }));
    try {
      await Promise.all(next.map((image) => image.decode()));
    } catch {
      return;
    }
    if (mine !== wanted) return;
    Object.values(figures).forEach((figure, n) => {
      const image = figure.querySelector("img");
      image.src = next[n].src;
      image.alt = `${form.elements.axis.selectedOptions[0].text} slice ${number.value}, ${figure.querySelector("figcaption b").textContent}`;
      image.decode().then(() => fit(image), () => {});
    });
  }
  const soon = () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(show); };
  const step = (by) => {
    number.value = Math.min(Math.max(Number(number.value) + by, 1), Number(number.max));
    soon();
  };

  function plane() {
    const one = axes[form.elements.axis.value];
    number.max = one.count;
    number.value = one.start + 1;
    form.querySelector("#count").textContent = one.count;
    for (const figure of Object.values(figures)) {
      for (const [side, letter] of Object.entries(one.sides)) figure.querySelector(`.side.${side}`).textContent = letter;
    }
    soon();
  }

  for (const figure of Object.values(figures)) {
    const image = figure.querySelector("img");
    image.decode().then(() => fit(image), () => {});
    const stage = figure.querySelector(".stage");
    stage.addEventListener("wheel", (event) => { event.preventDefault(); step(-Math.sign(event.deltaY)); }, { passive: false });
    const steps = { PageUp: 1, ArrowUp: 1, ArrowRight: 1, PageDown: -1, ArrowDown: -1, ArrowLeft: -1 };
    stage.addEventListener("keydown", (event) => {
      if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      step(steps[event.key]);
    });
  }
  fetch(`/api/scans/${scan}/images`, { headers: { Accept: "application/json" } })
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer)))
    .then((found) => {
      axes = Object.fromEntries(found.axes.map((one) => [one.axis, one]));
      form.querySelector("button").hidden = true;
      form.addEventListener("submit", (event) => { event.preventDefault(); soon(); });
      for (const name of ["number", "opacity"]) form.elements[name].addEventListener("input", soon);
      form.elements.axis.addEventListener("change", plane);
      form.elements.earlier.addEventListener("change", () => {
        figures.earlier.querySelector("figcaption b").textContent = form.elements.earlier.selectedOptions[0].text;
        soon();
      });
    })
    .catch(() => {});
}
