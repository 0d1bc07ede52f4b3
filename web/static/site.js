// The page's language, the list as it changes, and the upload form; list and form work without this file too.
"use strict";

const words = JSON.parse(document.body.dataset.words || "{}");

// What the page's language says for an English text; {name} in it is filled by the caller.
function t(text) {
  return words[text] ?? text;
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
        for (const [value, text] of [["", t("Role by its name")], ["T1", "T1"], ["T1CE", t("T1 with contrast")], ["T2", "T2"], ["FLAIR", "FLAIR"]]) {
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
      text.textContent = step.loaded < step.total ? t("Sending … {percent} %").replace("{percent}", Math.floor(bar.value)) : t("Checking the files …");
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
      text.textContent = t("The connection broke. Try again.");
      button.disabled = false;
    });
    request.open("POST", form.action);
    request.send(new FormData(form));
  });
}

// The list asks again when the node says that a scan changed, at most once a second; without that, every 15 seconds.
function live() {
  let waiting = 0;
  let stream = null;
  const ask = () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      const rows = document.querySelector("#scan-rows");
      if (rows) window.htmx.trigger(rows, "changed");
    }, 1000);
  };
  const listen = () => {
    stream?.close();
    stream = null;
    if (document.hidden) return;
    stream = new EventSource("/api/events");
    for (const kind of ["scan", "deleted"]) stream.addEventListener(kind, ask);
  };
  document.addEventListener("visibilitychange", () => { listen(); if (!document.hidden) ask(); });
  window.addEventListener("pagehide", () => stream?.close());
  listen();
}

if (document.querySelector("#scan-rows")) live();
document.querySelectorAll("form#upload").forEach(uploadForm);

// What must be scrolled sideways can be reached by keyboard, and is no stop where it fits.
const fits = new ResizeObserver((seen) => {
  for (const { target } of seen) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
document.querySelectorAll(".scroll").forEach((one) => fits.observe(one));
