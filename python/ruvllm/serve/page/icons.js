// The icons, drawn on a field of 24 by 24. They are part of the scripts, so that they show even where the server
// has gone: nothing is fetched to draw one.

import { svgElement } from "./dom.js";

// What takes up a shape; the rest is lines.
const FILLED = { stop: box(7, 7, 10, 10, 1.5), contrast: "M12 3.5a8.5 8.5 0 0 1 0 17z" };

const LINES = {
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "",
  copy: `${box(9, 9, 11, 11, 2)}M5 15H4V6a2 2 0 0 1 2-2h9v1`,
  check: "M5 12.5l4.5 4.5L19 7.5",
  warning: "M12 4L2.8 19.5h18.4zM12 10v4.5M12 17v.3",
  again: "M19.5 12a7.5 7.5 0 1 1-2.4-5.5M19.5 3.5v4h-4",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  edit: "M4 20l1-4.5L16 4.5l3.5 3.5L8.5 19zM13.5 7l3.5 3.5",
  bin: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 12.5h9l1-12.5M10.5 11v5M13.5 11v5",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  sidebar: `${box(3.5, 5, 17, 14, 2.5)}M9.5 5v14`,
  sliders: `M4 8h8M18 8h2M4 16h2M12 16h8${ring(15, 8, 2.5)}${ring(9, 16, 2.5)}`,
  scales:
    "M12 4v16M8 20h8M5 7h14M5 7l-2.5 6h5zM19 7l-2.5 6h5zM2.5 13a2.5 2.5 0 0 0 5 0M16.5 13a2.5 2.5 0 0 0 5 0",
  pulse: "M3 12h4l3-7.5 4.5 15 3-7.5H21",
  sun: `${ring(12, 12, 4)}M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6L7 7M17 17l1.4 1.4M5.6 18.4L7 17M17 7l1.4-1.4`,
  moon: "M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5z",
  contrast: ring(12, 12, 8.5),
  download: "M12 4v11M7 10.5l5 5 5-5M4.5 19.5h15",
  upload: "M12 16V4.5M7 9.5l5-5 5 5M4.5 19.5h15",
  page: "M6.5 3.5h7.5l4 4v13H6.5zM14 3.5v4h4M9.5 12h5.5M9.5 16h5.5",
  clip: "M19 11.5l-7.4 7.4a4.5 4.5 0 0 1-6.4-6.4l8-8a3 3 0 0 1 4.3 4.3l-7.9 7.9a1.5 1.5 0 0 1-2.2-2.2l7-7",
  keyboard: `${box(2.5, 6, 19, 12, 2)}M6.5 10h.2M10 10h.2M13.8 10h.2M17.3 10h.2M8 14h8`,
  key: `${ring(8, 15.5, 4)}M11 12.5L19.5 4M16 7.5l3 3M13.5 10l2 2`,
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5M13.5 5l-3 14",
  forward: "M5 6l7 6-7 6zM13 6l7 6-7 6z",
  "thumb-up":
    "M7.5 11v8.5H4V11zM7.5 11l4-7a2 2 0 0 1 2.5 2l-.7 4h5.2a1.8 1.8 0 0 1 1.8 2.2l-1.4 6a1.8 1.8 0 0 1-1.8 1.3H7.5",
  "thumb-down":
    "M7.5 13V4.5H4V13zM7.5 13l4 7a2 2 0 0 0 2.5-2l-.7-4h5.2a1.8 1.8 0 0 0 1.8-2.2l-1.4-6a1.8 1.8 0 0 0-1.8-1.3H7.5",
};

/** An icon by its name; decoration only, whoever holds it has the name. */
export function icon(name) {
  const attributes = { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" };
  const filled = name in FILLED ? svgElement("path", { d: FILLED[name], class: "icon-filled" }) : null;
  return svgElement("svg", attributes, svgElement("path", { d: LINES[name] }), filled);
}

// A box with round corners, as a path.
function box(x, y, width, height, radius) {
  const corner = (right, down) => `a${radius} ${radius} 0 0 1 ${right * radius} ${down * radius}`;
  const [across, along] = [width - 2 * radius, height - 2 * radius];
  return `M${x + radius} ${y}h${across}${corner(1, 1)}v${along}${corner(-1, 1)}h${-across}${corner(-1, -1)}` +
    `v${-along}${corner(1, -1)}z`;
}

// A circle, as a path.
function ring(x, y, radius) {
  const half = (width) => `a${radius} ${radius} 0 0 1 ${width} 0`;
  return `M${x - radius} ${y}${half(2 * radius)}${half(-2 * radius)}z`;
}
