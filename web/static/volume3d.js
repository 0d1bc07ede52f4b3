// The brain and the tumour in 3D, by NiiVue. Loaded by planes.js when somebody asks for it.
"use strict";

window.openVolume3d = async (root, planes) => {
  const canvas = root.querySelector("#canvas-3d");
  if (!document.createElement("canvas").getContext("webgl2")) throw new Error("this browser has no WebGL 2");
  const volume = (name) => `/api/scans/${planes.scan}/volume/${name}`;
  const { Niivue, SLICE_TYPE } = window.niivue;
  const view = new Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.42, 0.74, 0.94, 1],
    show3Dcrosshair: planes.crosshair.checked,
    isOrientCube: false,
    isOrientationTextVisible: true,
    dragAndDropEnabled: false,
    logLevel: "error",
    loadingText: "",
  });
  // Both are data: addresses in NiiVue's file, which the content security policy of the pages does not let load.
  view.DEFAULT_FONT_GLYPH_SHEET = "/static/vendor/niivue-font.png";
  view.loadDefaultMatCap = async () => null;
  canvas.hidden = false;
  await view.attachToCanvas(canvas);
  view.setSliceType(SLICE_TYPE.RENDER);
  const volumes = [{ url: volume(planes.found.hasBrain ? "BRAIN" : planes.found.referenceSeries), name: "brain.nii.gz", colormap: "gray" }];
  if (planes.found.hasSegmentation) volumes.push({ url: volume("LABELS"), name: "labels.nii.gz" });
  await view.loadVolumes(volumes);
  const oedema = root.querySelector("#oedema-3d");
  const paint = () => {
    // pipeline.overlay.LABEL_COLOURS: nothing, necrotic core, oedema, unused, enhancing tumour.
    view.volumes[1].setColormapLabel({
      R: [0, 216, 140, 0, 255], G: [0, 191, 224, 0, 60], B: [0, 216, 228, 0, 60], A: [0, 255, oedema.checked ? 255 : 0, 0, 255],
      I: [0, 1, 2, 3, 4], labels: ["", "NCR", "ED", "", "ET"],
    });
    view.updateGLVolume();
  };
  if (planes.found.hasSegmentation) {
    // Oedema lies around the core and would hide it.
    paint();
    oedema.closest(".cut").hidden = false;
    oedema.addEventListener("input", paint);
  }
  const follow = () => {
    view.opts.show3Dcrosshair = planes.crosshair.checked;
    view.scene.crosshairPos = planes.shares;
    if (view.volumes.length > 1) view.setOpacity(1, planes.overlay.checked ? 1 : 0);
    view.drawScene();
  };
  // Glass: the surface lets the tumour inside be seen.
  view.opts.renderOverlayBlend = 1;
  view.setRenderAzimuthElevation(130, 18);
  view.updateGLVolume();
  planes.listeners.push(follow);
  follow();
  const turns = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in turns)) return;
    event.preventDefault();
    event.stopPropagation();
    const [azimuth, elevation] = turns[event.key];
    view.setRenderAzimuthElevation(view.scene.renderAzimuth + azimuth, view.scene.renderElevation + elevation);
  }, true);
  const clip = root.querySelector("#cut-3d");
  clip.closest(".cut").hidden = false;
  clip.addEventListener("input", () => view.setClipPlane(clip.checked ? [0, 270, 0] : [2, 0, 0]));
  canvas.dataset.ready = "yes";
  window.dispatchEvent(new Event("resize"));
};
