/** The place where the image is shown, as large as it is of use. */

/** Images up to this side show their very pixels, each as a square of whole screen pixels. */
const TINY = 64;
/** Larger, a handful of pixels is harder to recognise, not easier. */
const TINY_SHOWN_AS = 400;
const LARGEST_ZOOM = 4;

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.picture = null;
    new ResizeObserver(() => this.#fit()).observe(canvas);
  }

  show(picture) {
    if (picture === this.picture) return;
    this.picture = picture;
    this.canvas.replaceChildren(...(picture ? [picture] : []));
    this.#fit();
  }

  #fit() {
    if (!this.picture) return;
    const { naturalWidth: width, naturalHeight: height, style } = this.picture;
    const zoom = zoomOf(width, height, this.canvas.clientWidth, this.canvas.clientHeight);
    style.width = `${width * zoom}px`;
    style.height = `${height * zoom}px`;
    this.picture.classList.toggle("pixels", Math.max(width, height) <= TINY);
  }
}

/** How many times its own size an image is shown so that all of it is seen. */
export function zoomOf(width, height, roomWidth, roomHeight) {
  if (!width || !height) return 1; // such as an SVG without a size
  const room = Math.min(roomWidth / width, roomHeight / height);
  const side = Math.max(width, height);
  if (side > TINY) return Math.min(room, LARGEST_ZOOM);
  const zoom = Math.min(room, TINY_SHOWN_AS / side);
  return zoom >= 1 ? Math.floor(zoom) : zoom;
}
