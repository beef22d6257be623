"""What runs inside the image ``code-runner``, on its own Python; never imported on this side."""
