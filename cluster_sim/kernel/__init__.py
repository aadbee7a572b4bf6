"""The compiled step loop: which modules it is made of, whether it is there and fits, and what of it stands for what."""
