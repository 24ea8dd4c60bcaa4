# The demo page:  docker build -t fer . && docker run --rm -p 7860:7860 fer
FROM python:3.12-slim

# Settings are environment variables: docker run -e FER_THREADS=2 ...
ENV FER_HOST=0.0.0.0 \
    FER_PORT=7860 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY app.py LICENSE NOTICE ./
COPY examples examples
COPY fer fer

# Uploads go to /tmp, which is all that this user can write to.
RUN useradd --uid 1000 --no-create-home fer
USER fer

EXPOSE 7860
HEALTHCHECK --start-period=30s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=5)"]
STOPSIGNAL SIGTERM
CMD ["python", "app.py"]
