# The example shop with celeriac: one image, the role is the command (docker-compose.yml).
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONPATH=/srv/examples

RUN useradd --system --home-dir /srv shop
WORKDIR /srv

# What celeriac needs changes seldom, the shop often; so a change of the shop rebuilds the last layer only.
COPY pyproject.toml README.md LICENSE ./
COPY celeriac celeriac
RUN pip install '.[postgres,flower]'
COPY examples/shop examples/shop

USER shop
CMD ["celery", "-A", "shop", "worker", "-E"]
