"""Lives of a replica: crashes and restarts, slow and hung times, outages of its link, joining and leaving."""
