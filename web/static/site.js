// The slice viewer and the upload form. Pages work without this file, except for the slices.
"use strict";

function viewer(root) {
  const scan = encodeURIComponent(root.dataset.scan);
  const image = root.querySelector("#slice");
  const note = root.querySelector("#slice-note");
  const index = root.querySelector("#index");
  const opacity = root.querySelector("#opacity");
  const overlay = root.querySelector("#overlay");
  const sides = Object.fromEntries(["left", "right", "up", "down"].map((s) => [s, root.querySelector(`.side.${s}`)]));
  let axes = {};
  let wanted = 0;
  const places = {};

  const axis = () => root.querySelector("input[name=axis]:checked").value;
  const address = (i) => {
    const kind = overlay.checked && !overlay.disabled ? "segmentation" : "slice";
    return `/api/scans/${scan}/${kind}/${i}?axis=${axis()}&opacity=${opacity.value / 100}`;
  };

  async function show() {
    const mine = ++wanted;
    const i = Number(index.value);
    places[axis()] = i;
    root.querySelector("#index-out").value = `${i + 1} of ${axes[axis()].count}`;
    root.querySelector("#opacity-out").value = `${opacity.value} %`;
    const next = new Image();
    next.src = address(i);
    try {
      await next.decode();
    } catch {
      if (mine === wanted) { note.textContent = "This slice could not be loaded."; note.hidden = false; }
      return;
    }
    if (mine !== wanted) return;
    image.src = next.src;
    image.alt = `${axis()} slice ${i + 1} of ${axes[axis()].count}${overlay.checked && !overlay.disabled ? " with the segmentation over it" : ""}`;
    image.hidden = false;
    note.hidden = true;
  }

  let pending = 0;
  const soon = () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(show); };

  function plane() {
    const one = axes[axis()];
    index.max = one.count - 1;
    index.value = places[axis()] ?? one.start;
    for (const [side, element] of Object.entries(sides)) element.textContent = one.sides[side] ?? "";
    soon();
  }

  fetch(`/api/scans/${scan}/images`, { headers: { Accept: "application/json" } })
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer)))
    .then((found) => {
      axes = Object.fromEntries(found.axes.map((one) => [one.axis, one]));
      overlay.disabled = !found.hasSegmentation;
      overlay.checked = found.hasSegmentation;
      for (const control of [index, opacity, overlay]) control.addEventListener("input", soon);
      root.querySelectorAll("input[name=axis]").forEach((one) => one.addEventListener("change", plane));
      root.querySelector(".stage").addEventListener("wheel", (event) => {
        event.preventDefault();
        index.value = Number(index.value) + Math.sign(event.deltaY);
        soon();
      }, { passive: false });
      plane();
    })
    .catch(() => { note.textContent = "The images could not be loaded."; });
}

function size(bytes) {
  return bytes < 1024 * 1024 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

function uploadForm(form) {
  const files = form.querySelector("#files");
  const chosen = form.querySelector("#chosen");
  const drop = form.querySelector("#drop");

  function list() {
    chosen.replaceChildren();
    const nifti = [...files.files].filter((file) => /\.nii(\.gz)?$/i.test(file.name));
    for (const [number, file] of [...files.files].entries()) {
      const row = document.createElement("div");
      row.className = "pair field";
      const label = document.createElement("label");
      label.textContent = `${file.name} (${size(file.size)})`;
      row.append(label);
      if (nifti.includes(file)) {
        const select = document.createElement("select");
        select.name = "roles";
        select.id = `role-${number}`;
        label.htmlFor = select.id;
        for (const [value, text] of [["", "Role by its name"], ["T1", "T1"], ["T1CE", "T1 with contrast"], ["T2", "T2"], ["FLAIR", "FLAIR"]]) {
          select.add(new Option(text, value));
        }
        row.append(select);
      }
      chosen.append(row);
    }
  }
  files.addEventListener("change", list);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) { files.files = event.dataTransfer.files; list(); }
    });
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const sending = form.querySelector("#sending");
    const bar = sending.querySelector("progress");
    const text = form.querySelector("#sending-text");
    const button = form.querySelector("button.main");
    const request = new XMLHttpRequest();
    button.disabled = true;
    sending.hidden = false;
    request.upload.addEventListener("progress", (step) => {
      bar.value = (100 * step.loaded) / step.total;
      text.textContent = step.loaded < step.total ? `Sending … ${Math.floor(bar.value)} %` : "Checking the files …";
    });
    request.addEventListener("load", () => {
      if (request.status < 300 && request.responseURL !== form.action) { location.assign(request.responseURL); return; }
      // The answer is a page of this node, made by the same templates.
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      document.querySelector("#main").replaceChildren(...page.querySelector("#main").childNodes);
      document.querySelectorAll("form#upload").forEach(uploadForm);
      document.querySelector("[role=alert]")?.scrollIntoView();
    });
    request.addEventListener("error", () => {
      text.textContent = "The connection broke. Try again.";
      button.disabled = false;
    });
    request.open("POST", form.action);
    request.send(new FormData(form));
  });
}

document.querySelectorAll("#viewer").forEach(viewer);
document.querySelectorAll("form#upload").forEach(uploadForm);
