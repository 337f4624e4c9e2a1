// The 3D view: one scan, up to three bodies, a time slider. Unpacks what pipelines/report/view.py packed.
(async function () {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const canvas = byId("view-canvas");
  const tell = (text) => { canvas.replaceWith(Object.assign(document.createElement("p"), { className: "warning", textContent: text })); };
  if (typeof DecompressionStream === "undefined") return tell("This browser is too old for the 3D view.");

  const data = JSON.parse(byId("view-data").textContent);
  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas: canvas, antialias: true });
  } catch (error) {
    return tell("This browser has no WebGL, so there is no 3D view.");
  }
  renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));

  const unpack = async (text, Type) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Type(await new Response(stream).arrayBuffer());
  };
  const metres = (steps) => Float32Array.from(steps, (step) => step * data.unit);

  // Colours. Inside the scene: magenta, darker with depth up to 10 cm; touching: orange.
  const CONTACT = new THREE.Color("#e69f00"), SHALLOW = new THREE.Color("#f259bf"), DEEP = new THREE.Color("#73004d");
  const DEEP_MM = 100;

  const world = new THREE.Scene();
  world.background = new THREE.Color("#eef1f5");
  const eye = new THREE.PerspectiveCamera(50, 2, 0.05, 100);
  eye.up.set(0, 0, 1);
  const lamp = new THREE.DirectionalLight(0xffffff, 0.6);
  world.add(new THREE.HemisphereLight(0xffffff, 0xaab0b8, 0.5), lamp, lamp.target);

  const state = { recording: null, scan: null, bodies: [], frame: 0, playing: false, last: 0 };
  const orbit = { target: new THREE.Vector3(), distance: 4, azimuth: 0, height: 0.5 };

  function draw() {
    const level = Math.cos(orbit.height);
    eye.position.set(
      orbit.target.x + orbit.distance * level * Math.cos(orbit.azimuth),
      orbit.target.y + orbit.distance * level * Math.sin(orbit.azimuth),
      orbit.target.z + orbit.distance * Math.sin(orbit.height));
    eye.lookAt(orbit.target);
    lamp.position.copy(eye.position);
    lamp.target.position.copy(orbit.target);
    renderer.render(world, eye);
  }

  function resize() {
    const width = canvas.clientWidth, height = canvas.clientHeight;
    renderer.setSize(width, height, false);
    eye.aspect = width / Math.max(height, 1);
    eye.updateProjectionMatrix();
    draw();
  }

  const scans = {};
  async function scanOf(name) {
    if (!scans[name]) {
      const packed = data.scenes[name];
      const mesh = new THREE.BufferGeometry();
      const colors = Float32Array.from(await unpack(packed.colors, Uint8Array), (c) => c / 255);
      mesh.setAttribute("position", new THREE.BufferAttribute(metres(await unpack(packed.positions, Int16Array)), 3));
      mesh.setAttribute("color", new THREE.BufferAttribute(colors, 3));
      mesh.setIndex(new THREE.BufferAttribute(await unpack(packed.faces, Uint32Array), 1));
      // Only faces turned to the viewer: walls between the eye and the room vanish. Lit face by face, since the two
      // sides of a thin plate share their vertices.
      const look = { vertexColors: true, side: THREE.FrontSide, flatShading: true, shininess: 0 };
      scans[name] = new THREE.Mesh(mesh, new THREE.MeshPhongMaterial(look));
    }
    return scans[name];
  }

  async function bodyOf(recording, method) {
    const steps = await unpack(method.positions, Int16Array);
    const distances = await unpack(method.distances, Int8Array);
    const size = steps.length / recording.frames.length;
    for (let i = size; i < steps.length; i++) steps[i] += steps[i - size];
    const mesh = new THREE.BufferGeometry();
    mesh.setAttribute("position", new THREE.BufferAttribute(new Float32Array(size), 3));
    mesh.setAttribute("color", new THREE.BufferAttribute(new Float32Array(size), 3));
    mesh.setIndex(new THREE.BufferAttribute(await unpack(recording.faces, Uint32Array), 1));
    const body = new THREE.Mesh(mesh, new THREE.MeshLambertMaterial({ vertexColors: true, side: THREE.DoubleSide }));
    body.frustumCulled = false;
    return { body: body, steps: steps, distances: distances, size: size, valid: method.valid, base: new THREE.Color(...method.color), shown: true };
  }

  function pose(item, frame) {
    item.body.visible = item.shown && item.valid[frame] === 1;
    if (!item.body.visible) return;
    const place = item.body.geometry.attributes.position, color = item.body.geometry.attributes.color;
    const mixed = new THREE.Color();
    for (let i = 0; i < item.size; i++) place.array[i] = item.steps[frame * item.size + i] * data.unit;
    for (let v = 0; v < item.size / 3; v++) {
      const mm = item.distances[frame * (item.size / 3) + v];
      if (mm < 0) mixed.copy(SHALLOW).lerp(DEEP, Math.min(-mm / DEEP_MM, 1));
      else if (mm < data.contact_mm) mixed.copy(CONTACT);
      else mixed.copy(item.base);
      mixed.toArray(color.array, 3 * v);
    }
    place.needsUpdate = color.needsUpdate = true;
    item.body.geometry.computeVertexNormals();
  }

  function show(frame) {
    state.frame = frame;
    byId("view-frame").value = frame;
    const r = state.recording;
    byId("view-time").textContent = "frame " + r.frames[frame] + ", " + r.seconds[frame].toFixed(2) + " s";
    state.bodies.forEach((item) => pose(item, frame));
    draw();
  }

  // Where the bodies are in the shown frames: what the view turns about.
  function aim() {
    const middle = new THREE.Vector3();
    const item = state.bodies[0], frames = state.recording.frames.length;
    let number = 0;
    for (let f = 0; f < frames; f++) {
      if (!item.valid[f]) continue;
      for (let i = 0; i < item.size; i += 30) {
        middle.add(new THREE.Vector3(item.steps[f * item.size + i], item.steps[f * item.size + i + 1], item.steps[f * item.size + i + 2]));
        number += 1;
      }
    }
    orbit.target.copy(middle.multiplyScalar(data.unit / Math.max(number, 1)));
  }

  function fromCamera() {
    const T = state.recording.camera;
    const offset = new THREE.Vector3(T[0][3], T[1][3], T[2][3]).sub(orbit.target);
    orbit.distance = offset.length();
    orbit.azimuth = Math.atan2(offset.y, offset.x);
    orbit.height = Math.asin(offset.z / Math.max(orbit.distance, 1e-6));
    draw();
  }

  function fromAbove() {
    fromCamera();
    orbit.azimuth += 0.6;
    orbit.height = 0.75;
    orbit.distance = 3.4;
    draw();
  }

  async function choose(number) {
    const r = data.recordings[number];
    const scan = await scanOf(r.scene);
    const bodies = await Promise.all(r.methods.map((method) => bodyOf(r, method)));
    if (state.scan) world.remove(state.scan);
    state.bodies.forEach((item) => { world.remove(item.body); item.body.geometry.dispose(); });
    state.recording = r;
    state.scan = scan;
    state.bodies = bodies;
    scan.visible = byId("view-scan").checked;
    world.add(scan);
    const boxes = byId("view-methods");
    boxes.replaceChildren();
    r.methods.forEach((method, k) => {
      bodies[k].shown = k === 0;
      world.add(bodies[k].body);
      const label = document.createElement("label"), box = document.createElement("input"), patch = document.createElement("span");
      Object.assign(box, { type: "checkbox", checked: k === 0 });
      box.addEventListener("change", () => { bodies[k].shown = box.checked; show(state.frame); });
      patch.className = "patch";
      patch.style.background = "#" + bodies[k].base.getHexString();
      label.append(box, " ", patch, method.title + " ");
      boxes.append(label);
    });
    byId("view-frame").max = r.frames.length - 1;
    aim();
    fromAbove();
    show(0);
  }

  function legend() {
    const entries = [["#e69f00", "touches: up to " + data.contact_mm / 10 + " cm outside the scene"], ["#f259bf", "just inside the scene"], ["#73004d", DEEP_MM / 10 + " cm inside or deeper"]];
    entries.forEach(([color, text]) => {
      const entry = document.createElement("span"), patch = document.createElement("span");
      patch.className = "patch";
      patch.style.background = color;
      entry.append(patch, text);
      byId("view-legend").append(entry);
    });
  }

  function move(event, previous) {
    const dx = event.clientX - previous.x, dy = event.clientY - previous.y;
    if (event.buttons === 2 || event.shiftKey) {
      const right = new THREE.Vector3().setFromMatrixColumn(eye.matrix, 0), up = new THREE.Vector3().setFromMatrixColumn(eye.matrix, 1);
      const scale = orbit.distance / canvas.clientHeight;
      orbit.target.addScaledVector(right, -dx * scale).addScaledVector(up, dy * scale);
    } else {
      orbit.azimuth -= dx * 0.008;
      orbit.height = Math.max(-1.5, Math.min(1.5, orbit.height + dy * 0.008));
    }
    draw();
  }

  function listen() {
    let previous = null;
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); previous = { x: event.clientX, y: event.clientY }; });
    canvas.addEventListener("pointermove", (event) => { if (previous) { move(event, previous); previous = { x: event.clientX, y: event.clientY }; } });
    canvas.addEventListener("pointerup", () => { previous = null; });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); orbit.distance *= Math.exp(event.deltaY * 0.001); draw(); }, { passive: false });
    canvas.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); byId("view-play").click(); } });
    byId("view-recording").addEventListener("change", (event) => choose(Number(event.target.value)));
    byId("view-frame").addEventListener("input", (event) => show(Number(event.target.value)));
    byId("view-scan").addEventListener("change", (event) => { state.scan.visible = event.target.checked; draw(); });
    byId("view-camera").addEventListener("click", fromCamera);
    byId("view-reset").addEventListener("click", fromAbove);
    byId("view-play").addEventListener("click", (event) => {
      state.playing = !state.playing;
      event.target.textContent = state.playing ? "Stop" : "Play";
      if (state.playing) requestAnimationFrame(play);
    });
    window.addEventListener("resize", resize);
  }

  function play(now) {
    if (!state.playing) return;
    const seconds = state.recording.seconds, next = (state.frame + 1) % seconds.length;
    const wait = Math.max(1000 * (seconds[next] - seconds[state.frame]), 30);
    if (now - state.last >= wait) { state.last = now; show(next); }
    requestAnimationFrame(play);
  }

  data.recordings.forEach((r, k) => byId("view-recording").append(new Option(r.name, k)));
  legend();
  listen();
  await choose(0);
  resize();
  document.body.dataset.viewReady = "1";
  window.reportView = { state: state, orbit: orbit, show: show, choose: choose };
})();
