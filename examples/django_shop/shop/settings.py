"""As little as Django asks for. Celery's settings begin with ``CELERY_``, celeriac's with ``CELERY_CELERIAC_``."""

import os
from pathlib import Path

DATA = Path(os.environ.get("SHOP_DATA", Path(__file__).parents[1]))

SECRET_KEY = "only-an-example"  # noqa: S105
DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["shop.apps.ShopConfig"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "shop.urls"
USE_TZ = True
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "shop.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
CELERY_RESULT_BACKEND = os.environ.get("CELERY_RESULT_BACKEND", CELERY_BROKER_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# With PostgreSQL this is the database that Django has: postgresql+psycopg://localhost/shop. Two SQLite files are quicker
# than one, because SQLite lets one transaction write at a time.
CELERY_CELERIAC_STORE = os.environ.get("CELERIAC_STORE", f"sqlite:///{DATA / 'flows.sqlite3'}")
