"""What ``celeriac demo`` shows: a shop, a folder of pictures, and a worker that is killed."""
