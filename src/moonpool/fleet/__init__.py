"""The machines that sandboxes run on, as those who run them see it: today there is one, this server's own."""
