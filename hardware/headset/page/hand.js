// The hand's side of teleoperation: says 50 to 90 times a second where the hand is and whether the clutch is held.
// Letting go, hiding the page, losing tracking or closing the connection all mean: hold the arm.
"use strict";

const SEND_MS = 20;
const BACKLOG_BYTES = 2000;   // more than this waits in the browser: the network has stalled, old motion is not added
const RETRY_MS = 1000;
const PAD_REACH = 0.38;       // share of a pad's width from its middle to full deflection

const at = (id) => document.getElementById(id);
const hand = { mode: "pads", touched: false, twist: [0, 0, 0, 0, 0, 0], tilt: null, mark: "", session: null, held: false };
let socket = null;

// the connection ----------------------------------------------------------------------------------------------------

function connect() {
  const token = location.hash.slice(1);
  if (!token) { show("no token", "Open the whole address that the workbench shows."); return; }
  socket = new WebSocket(`wss://${location.host}/hand`, ["clap-workbench-hand", `token.${token}`]);
  socket.onopen = () => show("connected", "");
  socket.onmessage = (event) => {
    const answer = JSON.parse(event.data);
    at("latency").textContent = `${Math.max(0, Math.round(performance.now() - answer.t))} ms`;
    at("words").textContent = answer.words;
  };
  socket.onclose = (event) => {
    socket = null;
    const why = event.code === 4409 ? "Another device is driving." : event.reason || "The workbench does not answer.";
    show("not connected", why);
    at("latency").textContent = "";
    setTimeout(connect, RETRY_MS);
  };
}

function say(message) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  if (message.held && socket.bufferedAmount > BACKLOG_BYTES) return;
  socket.send(JSON.stringify({ t: performance.now(), mark: hand.mark, ...message }));
  hand.mark = "";
  if (message.held !== hand.held) {
    hand.held = message.held;
    at("screen").classList.toggle("moving", message.held);
  }
}

function show(state, words) {
  at("state").textContent = state;
  at("words").textContent = words;
  at("screen").classList.toggle("lost", state !== "connected");
}

const lever = () => Number(at("lever").value);

// touch pads and tilting --------------------------------------------------------------------------------------------

function tick() {
  if (hand.session || document.hidden) return;
  if (hand.mode === "pads") {
    say({ held: hand.touched, twist: hand.touched ? hand.twist : null, lever: lever() });
  } else {
    const known = hand.tilt !== null;
    say({ held: hand.touched && known, pose: known ? [0, 0, 0, ...hand.tilt] : null, lever: lever() });
  }
}

function pad(element, set) {
  const fingers = new Map();
  const move = (event) => {
    const box = element.getBoundingClientRect();
    const reach = PAD_REACH * Math.min(box.width, box.height);
    const clip = (value) => Math.max(-1, Math.min(1, value));
    set(clip((event.clientX - box.left - box.width / 2) / reach), clip((event.clientY - box.top - box.height / 2) / reach));
  };
  element.addEventListener("pointerdown", (event) => {
    if (hand.mode !== "pads") return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, true);
    element.classList.add("touched");
    move(event);
    touched();
  });
  element.addEventListener("pointermove", (event) => { if (fingers.has(event.pointerId)) move(event); });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    element.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      if (fingers.size) return;
      element.classList.remove("touched");
      set(0, 0);
      touched();
    });
  }
}

function touched() {
  hand.touched = document.querySelectorAll(".touched, .held").length > 0;
  tick();
}

pad(at("pad-plane"), (right, down) => { hand.twist[0] = -down; hand.twist[1] = -right; });
pad(at("pad-lift"), (right, down) => { hand.twist[2] = -down; hand.twist[5] = -right; });

at("hold").addEventListener("pointerdown", (event) => {
  at("hold").setPointerCapture(event.pointerId);
  at("hold").classList.add("held");
  touched();
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
  at("hold").addEventListener(name, () => { at("hold").classList.remove("held"); touched(); });
}

// alpha, beta, gamma turn about z, x, y in this order; the screen's frame (x right, y up, z to the viewer) when flat
// on the table has z up. Turned by -90 degrees about x it is the room's frame.
function orientation(event) {
  if (event.alpha === null || event.beta === null || event.gamma === null) { hand.tilt = null; return; }
  const half = (degrees) => degrees * Math.PI / 360;
  const turn = (axis, angle) => [0, 1, 2].map((i) => (i === axis ? Math.sin(angle) : 0)).reduce((q, v) => [...q, v], [Math.cos(angle)]);
  const world = times(times(turn(2, half(event.alpha)), turn(0, half(event.beta))), turn(1, half(event.gamma)));
  hand.tilt = times(turn(0, -Math.PI / 4), world);
}

function times([a, b, c, d], [w, x, y, z]) {
  return [a * w - b * x - c * y - d * z, a * x + b * w + c * z - d * y, a * y - b * z + c * w + d * x, a * z + b * y - c * x + d * w];
}

// headset or tracked phone ------------------------------------------------------------------------------------------

async function xrMode() {
  if (!navigator.xr) return null;
  for (const mode of ["immersive-ar", "immersive-vr"]) {
    if (await navigator.xr.isSessionSupported(mode).catch(() => false)) return mode;
  }
  return null;
}

async function enter(mode) {
  const session = await navigator.xr.requestSession(mode, { optionalFeatures: ["local-floor", "dom-overlay"], domOverlay: { root: at("screen") } });
  const space = await session.requestReferenceSpace("local");
  const canvas = document.createElement("canvas");
  const drawing = canvas.getContext("webgl", { xrCompatible: true });
  if (drawing) session.updateRenderState({ baseLayer: new XRWebGLLayer(session, drawing) });
  hand.session = session;
  at("leave").hidden = false;
  session.addEventListener("end", () => { hand.session = null; at("leave").hidden = true; tick(); });
  session.addEventListener("visibilitychange", () => { if (session.visibilityState !== "visible") say({ held: false }); });
  const frame = (_time, now) => {
    if (hand.session !== session) return;
    session.requestAnimationFrame(frame);
    if (session.visibilityState === "visible") say(seen(now, session, space));
  };
  session.requestAnimationFrame(frame);
}

// The controller whose grip is squeezed (the right one while none is), else the phone itself with the button on screen.
function seen(frame, session, space) {
  const held = [...session.inputSources].filter((source) => source.gamepad && source.handedness !== "none");
  const squeezed = (source) => Boolean(source.gamepad.buttons[1] && source.gamepad.buttons[1].pressed);
  const source = held.find(squeezed) || held.find((one) => one.handedness === "right") || held[0];
  const place = source ? frame.getPose(source.targetRaySpace, space) : frame.getViewerPose(space);
  const tracked = place && !place.emulatedPosition;
  if (source) marks(source.gamepad.buttons);
  return {
    held: Boolean(tracked && (source ? squeezed(source) : hand.touched)),
    pose: tracked ? numbers(place.transform) : null,
    lever: source && source.gamepad.buttons[0] ? 1 - source.gamepad.buttons[0].value : lever(),
  };
}

function numbers({ position: p, orientation: q }) {
  return [p.x, p.y, p.z, q.w, q.x, q.y, q.z];
}

const pressed = [false, false];
function marks(buttons) {
  ["success", "failure"].forEach((word, i) => {
    const down = Boolean(buttons[4 + i] && buttons[4 + i].pressed);
    if (down && !pressed[i]) hand.mark = word;
    pressed[i] = down;
  });
}

// the page ----------------------------------------------------------------------------------------------------------

function choose(mode) {
  hand.mode = mode;
  for (const name of ["pads", "tilt"]) at(`mode-${name}`).classList.toggle("chosen", name === mode);
  at("pads").hidden = mode !== "pads";
  at("hold").hidden = mode === "pads" && at("mode-xr").disabled;
}

at("mode-pads").onclick = () => choose("pads");
at("mode-tilt").onclick = async () => {
  const asks = window.DeviceOrientationEvent && DeviceOrientationEvent.requestPermission;
  if (asks && (await DeviceOrientationEvent.requestPermission()) !== "granted") return;
  window.addEventListener("deviceorientation", orientation);
  choose("tilt");
};
at("mode-xr").onclick = async () => {
  const mode = await xrMode();
  if (mode) await enter(mode).catch((error) => show("connected", `The headset's view did not open: ${error.message}`));
};
at("leave").onclick = () => hand.session && hand.session.end();
at("success").onclick = () => { hand.mark = "success"; };
at("failure").onclick = () => { hand.mark = "failure"; };

document.addEventListener("visibilitychange", () => { if (document.hidden) say({ held: false }); });
window.addEventListener("pagehide", () => { if (socket) socket.close(); });
window.addEventListener("contextmenu", (event) => event.preventDefault());
window.addEventListener("blur", () => { if (!hand.session) say({ held: false }); });

choose("pads");
xrMode().then((mode) => { at("mode-xr").disabled = !mode; choose(hand.mode); });
connect();
setInterval(tick, SEND_MS);
