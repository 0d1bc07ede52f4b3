// Three linked planes of one scan, drawn by the server. volume3d.js is loaded when the 3D view is asked for.
"use strict";

(() => {
  const PLANES = ["axial", "coronal", "sagittal"];
  // Which plane's slice number changes along a picture's columns and rows. Slices count from the patient's left, back and
  // feet; pictures begin at the right (sagittal: the front) and the top, so numbers fall from left to right and downwards.
  const ACROSS = { axial: ["sagittal", "coronal"], coronal: ["sagittal", "axial"], sagittal: ["coronal", "axial"] };
  const within = (value, count) => Math.min(Math.max(value, 0), count - 1);

  class Planes {
    constructor(root) {
      this.root = root;
      this.scan = encodeURIComponent(root.dataset.scan);
      this.part = Object.fromEntries(PLANES.map((axis) => [axis, this.parts(root.querySelector(`.plane[data-axis=${axis}]`))]));
      this.series = root.querySelector("#series");
      this.overlay = root.querySelector("#overlay");
      this.opacity = root.querySelector("#opacity");
      this.crosshair = root.querySelector("#crosshair");
      this.place = {};
      this.listeners = [];
    }

    parts(figure) {
      return {
        figure,
        stage: figure.querySelector(".stage"),
        image: figure.querySelector("img"),
        note: figure.querySelector(".empty"),
        lines: [figure.querySelector(".line.down"), figure.querySelector(".line.across")],
        slider: figure.querySelector("input[type=range]"),
        said: figure.querySelector("output"),
        wanted: 0,
        pending: 0,
      };
    }

    async open() {
      const answer = await fetch(`/api/scans/${this.scan}/images`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error("no images");
      const found = await answer.json();
      this.axes = Object.fromEntries(found.axes.map((one) => [one.axis, one]));
      this.found = found;
      for (const role of found.series) {
        this.series.add(new Option(role, role, role === found.referenceSeries, role === found.referenceSeries));
      }
      this.overlay.disabled = !found.hasSegmentation;
      this.overlay.checked = found.hasSegmentation;
      for (const axis of PLANES) {
        const part = this.part[axis];
        this.place[axis] = this.axes[axis].start;
        part.slider.max = this.axes[axis].count - 1;
        for (const [side, letter] of Object.entries(this.axes[axis].sides)) {
          part.figure.querySelector(`.side.${side}`).textContent = letter;
        }
        this.listen(axis);
      }
      for (const control of [this.series, this.overlay, this.opacity, this.crosshair]) {
        control.addEventListener("input", () => this.show());
      }
      this.root.querySelector("#to-tumour").addEventListener("click", () => this.go(this.starts()));
      this.show();
    }

    starts() {
      return Object.fromEntries(PLANES.map((axis) => [axis, this.axes[axis].start]));
    }

    listen(axis) {
      const { stage, slider, image, figure } = this.part[axis];
      slider.addEventListener("input", () => this.go({ [axis]: Number(slider.value) }));
      stage.addEventListener("wheel", (event) => {
        event.preventDefault();
        this.go({ [axis]: this.place[axis] - Math.sign(event.deltaY) });
      }, { passive: false });
      const point = (event) => {
        const box = image.getBoundingClientRect();
        const share = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        if (share.some((one) => one < 0 || one > 1)) return;
        this.go(Object.fromEntries(ACROSS[axis].map((other, n) => {
          const count = this.axes[other].count;
          return [other, count - 1 - within(Math.floor(share[n] * count), count)];
        })));
      };
      stage.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        stage.setPointerCapture(event.pointerId);
        point(event);
      });
      stage.addEventListener("pointermove", (event) => { if (event.buttons & 1) point(event); });
      stage.addEventListener("keydown", (event) => {
        const [columns, rows] = ACROSS[axis];
        const moves = {
          ArrowLeft: { [columns]: this.place[columns] + 1 }, ArrowRight: { [columns]: this.place[columns] - 1 },
          ArrowUp: { [rows]: this.place[rows] + 1 }, ArrowDown: { [rows]: this.place[rows] - 1 },
          PageUp: { [axis]: this.place[axis] + 1 }, PageDown: { [axis]: this.place[axis] - 1 },
          Home: { [axis]: 0 }, End: { [axis]: this.axes[axis].count - 1 },
        };
        if (event.key in moves && !event.ctrlKey && !event.altKey && !event.metaKey) {
          event.preventDefault();
          this.go(moves[event.key]);
        }
      });
      figure.querySelector("button.enlarge").addEventListener("click", (event) => {
        const large = figure.classList.toggle("large");
        this.root.classList.toggle("one", large);
        event.currentTarget.setAttribute("aria-pressed", String(large));
      });
    }

    go(places) {
      for (const [axis, value] of Object.entries(places)) this.place[axis] = within(value, this.axes[axis].count);
      this.show();
    }

    show() {
      this.root.querySelector("#opacity-out").value = `${this.opacity.value} %`;
      for (const axis of PLANES) {
        const part = this.part[axis];
        cancelAnimationFrame(part.pending);
        part.pending = requestAnimationFrame(() => this.draw(axis));
      }
      for (const listener of this.listeners) listener();
    }

    // Shares of the way from the patient's left, back and feet, of the voxel that all three planes cross.
    get shares() {
      return ["sagittal", "coronal", "axial"].map((axis) => (this.place[axis] + 0.5) / this.axes[axis].count);
    }

    async draw(axis) {
      const part = this.part[axis];
      const { count } = this.axes[axis];
      const index = this.place[axis];
      const withLabels = this.overlay.checked && !this.overlay.disabled;
      part.slider.value = index;
      part.said.value = `${index + 1} of ${count}`;
      part.stage.classList.toggle("crossed", this.crosshair.checked);
      ACROSS[axis].forEach((other, n) => {
        const share = 1 - (this.place[other] + 0.5) / this.axes[other].count;
        part.lines[n].style.setProperty("--at", `${100 * share}%`);
      });
      const series = this.series.value ? `&series=${this.series.value}` : "";
      const opacity = withLabels ? `&opacity=${this.opacity.value / 100}` : "";
      const address = `/api/scans/${this.scan}/${withLabels ? "segmentation" : "slice"}/${index}?axis=${axis}${series}${opacity}`;
      if (part.image.dataset.shown === address) return;
      const mine = ++part.wanted;
      const next = new Image();
      next.src = address;
      try {
        await next.decode();
      } catch {
        if (mine === part.wanted) { part.note.textContent = t("This slice could not be loaded."); part.note.hidden = false; }
        return;
      }
      if (mine !== part.wanted) return;
      part.image.src = address;
      part.image.parentElement.style.aspectRatio = `${next.naturalWidth} / ${next.naturalHeight}`;
      part.image.parentElement.classList.toggle("tall", next.naturalHeight > next.naturalWidth);
      part.image.dataset.shown = address;
      part.image.alt = `${this.series.value}, ${axis} slice ${index + 1} of ${count}${withLabels ? " with the segmentation over it" : ""}`;
      part.image.parentElement.hidden = false;
      part.note.hidden = true;
    }
  }

  function script(source) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = source;
      element.addEventListener("load", resolve);
      element.addEventListener("error", () => reject(new Error(source)));
      document.head.append(element);
    });
  }

  for (const root of document.querySelectorAll("#viewer")) {
    const planes = new Planes(root);
    planes.open().catch(() => {
      for (const note of root.querySelectorAll(".plane[data-axis] .empty")) note.textContent = t("The images could not be loaded.");
    });
    const button = root.querySelector("#open-3d");
    button.addEventListener("click", async () => {
      const note = root.querySelector("#note-3d");
      button.disabled = true;
      note.textContent = t("Loading the 3D view …");
      try {
        await script("/static/vendor/niivue.umd.js");
        await script("/static/volume3d.js");
        await window.openVolume3d(root, planes);
        button.hidden = true;
        note.hidden = true;
      } catch (error) {
        note.textContent = t("The 3D view could not be opened: {why}. The planes work without it.").replace("{why}", error.message);
        button.disabled = false;
      }
    });
  }
})();
