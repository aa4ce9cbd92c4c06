// A handle: an element over the canvas that the mouse, a finger or the arrow keys move, and the explorer's view.

class HandleView {
  constructor(panel, name) {
    Object.assign(this, { panel, name, held: false });
    this.element = make("div", "ebm-handle", { role: "slider", tabindex: 0, "aria-roledescription": "movable point" });
    this.element.dataset.name = name;
    this.words = make("span", "ebm-handle-label", { "aria-hidden": "true" });
    this.element.append(this.words);
    this.element.addEventListener("pointerdown", (e) => {
      if (e.button) return;
      e.preventDefault();
      this.element.focus({ preventScroll: true });
      this.element.setPointerCapture(e.pointerId);
      this.held = true;
    });
    this.element.addEventListener("pointermove", (e) => this.held && this.drag(this.panel.placeOf(e)));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      this.element.addEventListener(end, () => (this.held = false));
    }
    this.element.addEventListener("keydown", (e) => {
      const to = stepped(e, this.place, this.panel.panel.extent);
      if (to) this.drag(to);
    });
  }
  get key() {
    return `drag ${this.name}`;
  }
  drag(place) {
    this.show(within(place, this.panel.panel.extent));
    this.panel.talk.say(this.key, { do: "drag", name: this.name, ...this.place });
  }
  show(place) {
    this.place = place;
    const { box, panel } = this.panel, [x0, x1] = panel.extent;
    this.element.style.left = `${box.px(place.x)}px`;
    this.element.style.top = `${box.py(place.y)}px`;
    this.element.classList.toggle("ebm-handle-left", place.x > (x0 + 3 * x1) / 4);
    const where = `${panel.xlabel || "x"} ${short(place.x)}, ${panel.ylabel || "y"} ${short(place.y)}`;
    for (const [name, value] of Object.entries({ valuenow: place.x, valuemin: x0, valuemax: x1, valuetext: where })) {
      this.element.setAttribute(`aria-${name}`, value);
    }
  }
  update(handle) {
    this.element.style.setProperty("--color", handle.color);
    this.element.setAttribute("aria-label", `${handle.label}, in ${this.panel.panel.title}; arrow keys move it`);
    this.words.textContent = handle.label;
    const ahead = this.held || this.panel.talk.queue.has(this.key); // the reader's hand is faster than Python
    this.show(ahead && this.place ? this.place : { x: handle.x, y: handle.y });
  }
}

// The explorer -------------------------------------------------------------------------------------------------

const GAP = 12, LEAST = 160, MOST = 320; // CSS pixels between panels; of the height of axes

// The height of axes at which all panels stand side by side, or, where that is too low, on several rows.
function heightFor(panels, width) {
  const around = (p) => marginsOf(p).left + marginsOf(p).right + GAP;
  const fit = (some) => (width - some.reduce((sum, p) => sum + around(p), 0)) / some.reduce((sum, p) => sum + shapeOf(p), 0);
  const side = fit(panels);
  if (side >= LEAST) return Math.min(side, MOST);
  return Math.max(60, Math.min(...panels.map((p) => fit([p])), 260));
}

function render({ model, el }) {
  const root = make("div", "ebm-explorer", { role: "group", "data-lm-suppress-shortcuts": "true" });
  const title = make("div", "ebm-title"), controls = make("div", "ebm-controls"), panels = make("div", "ebm-panels");
  const text = make("p", "ebm-text"), problem = make("p", "ebm-problem", { role: "alert" });
  const spoken = make("p", "ebm-spoken", { role: "status", "aria-live": "polite" });
  root.append(title, controls, panels, text, problem, spoken);
  el.append(root);
  const talk = new Talk(model, root), kept = new Map(), made = new Map();
  const play = make("button", "ebm-button ebm-play", { type: "button" });
  play.addEventListener("click", () => talk.play(!talk.playing));
  talk.onplay = (on) => {
    play.textContent = on ? "\u23F8\uFE0E Pause" : `\u25B6\uFE0E ${model.get("frame").verb}`;
    play.setAttribute("aria-pressed", String(on));
  };
  talk.onplay(false);
  const bytes = model.get("palette"), palette = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let views = [], asked = 0, speech = 0, frames = 0;

  function draw() {
    asked = 0;
    const frame = model.get("frame"), width = root.clientWidth - 24;
    if (width <= 0) return; // not on the page yet; the observer calls again
    root.setAttribute("aria-label", `${frame.title}, an explorer`);
    title.textContent = frame.title;
    updateControls(controls, kept, frame.controls, talk, frame.plays ? play : null);
    const height = heightFor(frame.panels, width), art = { images: model.get("images"), palette, made };
    while (views.length > frame.panels.length) views.pop().element.remove();
    frame.panels.forEach((panel, i) => {
      if (!views[i]) {
        views[i] = new PanelView(talk, panel);
        panels.append(views[i].element);
      }
      views[i].update(panel, height, art);
    });
    if (text.textContent !== frame.text) {
      text.textContent = frame.text;
      clearTimeout(speech);
      speech = setTimeout(() => (spoken.textContent = frame.text), 400); // not at every step of a drag
    }
    problem.textContent = frame.problem;
    root.dataset.probe = JSON.stringify(frame.probe);
    root.dataset.frames = String(++frames);
    talk.rest();
  }
  const ask = () => (asked ||= requestAnimationFrame(draw));
  const heard = () => {
    ask();
    talk.heard(model.get("frame"));
  };
  model.on("change:frame", heard);
  model.on("change:images", ask);
  const watch = new ResizeObserver(ask);
  watch.observe(root);
  window.addEventListener("resize", ask); // zooming changes the pixels, and nothing else
  draw();
  return () => {
    talk.playing = false;
    model.off("change:frame", heard);
    model.off("change:images", ask);
    watch.disconnect();
    window.removeEventListener("resize", ask);
    cancelAnimationFrame(asked);
    clearTimeout(speech);
  };
}

export default { render };
