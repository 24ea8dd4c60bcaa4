"""Picture files, whole and broken."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

HUGE_HEADER = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


PORTRAIT = Image.open(Path(__file__).parents[1] / "examples" / "astronaut.png").convert("RGB")
BROKEN = {
    "empty.jpg": (b"", "is empty"),
    "text.jpg": (b"Dear diary, today I smiled.", "not a picture"),
    "half.jpg": (jpeg(PORTRAIT)[:20_000], "damaged or incomplete"),
    "huge.png": (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", HUGE_HEADER) + png_chunk(b"IDAT", b""),
        "30000 x 30000 pixels are too many",
    ),
}
