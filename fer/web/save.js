// Saves the photo as a PNG with the boxes drawn in, as the page shows it.
element.addEventListener("click", (event) => {
  if (!event.target.matches("button.fer-save")) return;
  const photo = element.querySelector(".fer-photo");
  const image = photo.querySelector("img");
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const scale = Math.max(1, canvas.width / 640);
  for (const box of photo.querySelectorAll(".fer-box")) {
    const part = (name, whole) => (parseFloat(box.style[name]) / 100) * whole;
    const left = part("left", canvas.width), top = part("top", canvas.height);
    pen.strokeStyle = box.style.getPropertyValue("--colour");
    pen.lineWidth = 3 * scale;
    pen.strokeRect(left, top, part("width", canvas.width), part("height", canvas.height));
    pen.font = `${14 * scale}px system-ui, sans-serif`;
    const text = box.querySelector(".fer-tag").textContent;
    const high = top < 20 * scale ? top + 20 * scale : top;
    pen.fillStyle = "#111d";
    pen.fillRect(left, high - 20 * scale, pen.measureText(text).width + 10 * scale, 20 * scale);
    pen.fillStyle = "#fff";
    pen.fillText(text, left + 5 * scale, high - 5 * scale);
  }
  const link = document.createElement("a");
  link.download = "faces.png";
  canvas.toBlob((blob) => {
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
});
